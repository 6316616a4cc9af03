"""Settings and role of a run that no call of a script starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracelet_otel._support.environment import sdk_export_interval_s, sdk_exports_otlp

if TYPE_CHECKING:
    from tracelet_otel.session.parent import Parent
    from tracelet_otel.session.role import Role
    from tracelet_otel.settings import Settings


def settings_for(backends: Sequence[str | None]) -> Settings:
    """The settings of the environment, with the backends that exporters were named for.

    Args:
        backends: names of backends; None for those of `TRACELET_BACKEND`.

    Raises:
        TraceletError: a setting is wrong, or a backend is unknown or not installed.
    """
    from tracelet_otel.exporters.registry import absolute, check_all
    from tracelet_otel.settings import load

    arguments: dict[str, Any] = {"export_interval": sdk_export_interval_s()}
    named = [name for name in backends if name is not None]
    if named:
        others = load({}, None).backend if None in backends else ()
        arguments["backend"] = [*others, *named]
    settings = absolute(load(arguments, None))
    check_all(settings)
    return settings


def role_of(settings: Settings, parent: Parent | None) -> Role:
    """Choose the role of this process in its run, and prepare the relay where the settings ask for that.

    Args:
        settings: settings of the run.
        parent: the run of the process that has started this one; None for none.
    """
    from tracelet_otel.api.active import next_role
    from tracelet_otel.settings import OTLP

    of_copies = settings.model_copy(update={"backend": tuple(dict.fromkeys((*settings.backend, OTLP)))})
    role = next_role(settings, of_copies if sdk_exports_otlp() else None, parent)
    if settings.prepare and role.owns_run and parent is None:
        from tracelet_otel.session.ahead import prepare

        prepare(settings)
    return role
