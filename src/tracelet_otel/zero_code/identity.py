"""Identity of a run that is reported to an SDK which somebody else has configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard

if TYPE_CHECKING:
    from tracelet_otel.session.parent import Parent
    from tracelet_otel.settings import Settings

_UNNAMED_SERVICE: Final = "unknown_service"


def identified(
    resource: Mapping[str, Any], settings: Settings, guard: Guard, parent: Parent | None = None
) -> dict[str, Any]:
    """Return the attributes of the SDK's resource, together with those of a run that it lacks.

    The settings take precedence for the run's id, name, project, group and job type, then the resource.

    Args:
        resource: attributes of the SDK's resource. A service name that somebody has set is used as the project, where
            the settings have none.
        settings: settings of the run.
        guard: where errors are reported; a part that fails is left out.
        parent: the run that it is a part of; None for none.
    """
    from tracelet_otel.exporters.registry import run_to_continue
    from tracelet_otel.resource.run_resource import completed, default_run_name, new_run_id
    from tracelet_otel.settings import DEFAULT_PROJECT

    service = str(resource.get(semconv.SERVICE_NAME, ""))
    project = settings.project
    if project == DEFAULT_PROJECT and service and not service.startswith(_UNNAMED_SERVICE):
        project = service
    run_id = run_to_continue(settings) or str(resource.get(semconv.RUN_ID) or new_run_id())
    name = settings.exp_name or str(resource.get(semconv.RUN_NAME) or default_run_name())
    found = completed(resource, run_id, name, project, settings, guard)
    below = {} if parent is None else {semconv.PARENT_RUN_ID: parent.run_id}
    return {**found, **settings.purpose, **below}
