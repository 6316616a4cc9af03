"""What a relay reports of itself."""

from __future__ import annotations

from typing import Final

# A relay itself
RELAY_SERVICE: Final = "tracelet-otel-relay"  # value of `service.name`
RELAY_REQUESTS: Final = "tracelet.relay.requests"
RELAY_REQUESTS_UNIT: Final = "{request}"
RELAY_READINGS: Final = "tracelet.relay.readings"
RELAY_READINGS_UNIT: Final = "{reading}"
RELAY_WAITING: Final = "tracelet.relay.merge.waiting"
RELAY_LATE: Final = "tracelet.relay.merge.late"
RELAY_INCOMPLETE: Final = "tracelet.relay.merge.incomplete"
RELAY_VALUES_UNIT: Final = "{value}"
RELAY_JOURNAL_SIZE: Final = "tracelet.relay.journal.size"
RELAY_UNDELIVERED_AGE: Final = "tracelet.relay.undelivered.age"
RELAY_LAG: Final = "tracelet.relay.delivery.lag"
RELAY_PENDING: Final = "tracelet.relay.delivery.pending"
RELAY_DROPPED: Final = "tracelet.relay.delivery.dropped"
PROCESS_MEMORY_USAGE: Final = "process.memory.usage"
SECONDS_UNIT: Final = "s"
HTTP_STATUS_CODE: Final = "http.response.status_code"
TRACKER: Final = "tracelet.tracker"  # name of the tracker to which is delivered
