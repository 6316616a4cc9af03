"""What of W&B's client is private and is needed all the same."""

from __future__ import annotations

from typing import Final

from tracelet_otel._support.private_names import Library, PrivateName, check

WANDB: Final = Library(
    packages={"wandb": "wandb"},
    oldest="0.31.0",
    newest="0.31.0",
    names=(
        PrivateName("analytics.opentelemetry.opentelemetry_proxy", "disable"),
        PrivateName("proto.wandb_internal_pb2", "EnvironmentRecord"),
        PrivateName("proto.wandb_internal_pb2", "Record"),
        PrivateName("sdk.data_types._private", "MEDIA_TMP"),
        PrivateName("sdk.data_types.base_types.wb_value", "WBValue._artifact_target"),
        PrivateName("sdk.data_types.utils", "val_to_json", parameters=("run", "key", "val", "namespace")),
        PrivateName("sdk.interface.interface", "InterfaceBase.publish_environment", parameters=("self", "environment")),
        PrivateName("sdk.wandb_run", "Run._interface"),
        PrivateName("sdk.wandb_settings", "Settings.log_internal"),
        PrivateName("sdk.wandb_settings", "Settings.sync_dir"),
        PrivateName("sdk.wandb_settings", "Settings.sync_file"),
        PrivateName("sdk.wandb_settings", "Settings.x_disable_meta"),
        PrivateName("sdk.wandb_settings", "Settings.x_disable_stats"),
        PrivateName("sdk.wandb_settings", "Settings.x_save_requirements"),
        PrivateName("sdk.wandb_settings", "Settings.x_transaction_log_flush_interval"),
    ),
)


def check_private_names() -> None:
    """Check that the client that this process has loaded has them.

    Raises:
        IncompatibleVersionError: one is missing.
    """
    check(WANDB)
