"""Readings of GPU and host."""

from __future__ import annotations

from typing import Final

# GPU: names and units of the hardware conventions; names of our own begin with `tracelet.gpu.`
GPU_UTILIZATION: Final = "hw.gpu.utilization"
GPU_MEMORY_USAGE: Final = "hw.gpu.memory.usage"
GPU_MEMORY_LIMIT: Final = "hw.gpu.memory.limit"
GPU_MEMORY_UTILIZATION: Final = "hw.gpu.memory.utilization"
HW_POWER: Final = "hw.power"
HW_ENERGY: Final = "hw.energy"
HW_TEMPERATURE: Final = "hw.temperature"
HW_FAN_SPEED_RATIO: Final = "hw.fan.speed_ratio"
HW_ERRORS: Final = "hw.errors"
HW_STATUS: Final = "hw.status"
GPU_CLOCK_FREQUENCY: Final = "tracelet.gpu.clock.frequency"
GPU_THROTTLE: Final = "tracelet.gpu.throttle"
GPU_PCIE_THROUGHPUT: Final = "tracelet.gpu.pcie.throughput"
GPU_PROCESS_MEMORY_USAGE: Final = "tracelet.gpu.process.memory.usage"
RATIO_UNIT: Final = "1"
BYTES_UNIT: Final = "By"
BYTES_PER_SECOND_UNIT: Final = "By/s"
WATTS_UNIT: Final = "W"
JOULES_UNIT: Final = "J"
CELSIUS_UNIT: Final = "Cel"
ERRORS_UNIT: Final = "{error}"
HERTZ_UNIT: Final = "Hz"

# The filesystem that the working directory is on; names of the system conventions
FILESYSTEM_USAGE: Final = "system.filesystem.usage"
FILESYSTEM_UTILIZATION: Final = "system.filesystem.utilization"

# Attributes of its points
SYSTEM_DEVICE: Final = "system.device"
FILESYSTEM_STATE: Final = "system.filesystem.state"
FILESYSTEM_MOUNTPOINT: Final = "system.filesystem.mountpoint"
FILESYSTEM_TYPE: Final = "system.filesystem.type"

# Values of `system.filesystem.state`
FILESYSTEM_USED: Final = "used"
FILESYSTEM_FREE: Final = "free"
FILESYSTEM_RESERVED: Final = "reserved"

# Attributes of a GPU's points
HW_ID: Final = "hw.id"
HW_NAME: Final = "hw.name"
HW_TYPE: Final = "hw.type"
HW_MODEL: Final = "hw.model"
HW_VENDOR: Final = "hw.vendor"
HW_DRIVER_VERSION: Final = "hw.driver_version"
HW_STATE: Final = "hw.state"
HW_GPU_TASK: Final = "hw.gpu.task"
ERROR_TYPE: Final = "error.type"
GPU_INDEX: Final = "tracelet.gpu.index"  # as `nvidia-smi` counts
GPU_CLOCK: Final = "tracelet.gpu.clock"
GPU_THROTTLE_REASON: Final = "tracelet.gpu.throttle.reason"
NETWORK_IO_DIRECTION: Final = "network.io.direction"

# Values of these attributes
HW_TYPE_GPU: Final = "gpu"
HW_VENDOR_NVIDIA: Final = "NVIDIA"
TASK_GENERAL: Final = "general"
TASK_ENCODER: Final = "encoder"
TASK_DECODER: Final = "decoder"
ERRORS_CORRECTED: Final = "corrected"
ERRORS_UNCORRECTED: Final = "uncorrected"
STATE_OK: Final = "ok"
STATE_DEGRADED: Final = "degraded"
STATE_FAILED: Final = "failed"
CLOCK_SM: Final = "sm"
CLOCK_MEMORY: Final = "memory"
DIRECTION_RECEIVE: Final = "receive"
DIRECTION_TRANSMIT: Final = "transmit"

# Values of `tracelet.gpu.throttle.reason`: why clocks are lower than they could be, as `nvidia-smi` names it
THROTTLE_IDLE: Final = "gpu_idle"
THROTTLE_APPLICATIONS_CLOCKS: Final = "applications_clocks_setting"
THROTTLE_SW_POWER_CAP: Final = "sw_power_cap"
THROTTLE_HW_SLOWDOWN: Final = "hw_slowdown"
THROTTLE_SYNC_BOOST: Final = "sync_boost"
THROTTLE_SW_THERMAL: Final = "sw_thermal_slowdown"
THROTTLE_HW_THERMAL: Final = "hw_thermal_slowdown"
THROTTLE_HW_POWER_BRAKE: Final = "hw_power_brake_slowdown"
THROTTLE_DISPLAY_CLOCK: Final = "display_clock_setting"

# GPU and host with the names and units of trackers
SYSTEM_READING: Final = "tracelet.system.reading"
SYSTEM_PREFIX: Final = "system/"
