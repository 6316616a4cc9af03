"""Identity of a run that is reported to an SDK which somebody else has configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard

if TYPE_CHECKING:
    from tracelet_otel.session.parent import Parent
    from tracelet_otel.session.session import Session

_UNNAMED_SERVICE: Final = "unknown_service"


def identified(
    resource: Mapping[str, Any], session: Session, guard: Guard, parent: Parent | None = None
) -> dict[str, Any]:
    """Return the attributes of the SDK's resource, together with those of a run that it lacks.

    The settings take precedence for the run's id, name, project, group and job type, then its job, then the resource.

    Args:
        resource: attributes of the SDK's resource. A service name that somebody has set is used as the project, where
            the settings have none.
        session: of the run in this process.
        guard: where errors are reported; a part that fails is left out.
        parent: the run that it is a part of; None for none.
    """
    from tracelet_otel.resource.run_resource import completed
    from tracelet_otel.settings import DEFAULT_PROJECT

    settings = session.settings
    service = str(resource.get(semconv.SERVICE_NAME, ""))
    project = settings.project
    if project == DEFAULT_PROJECT and service and not service.startswith(_UNNAMED_SERVICE):
        project = service
    known = [str(resource.get(name, "")) for name in (semconv.RUN_ID, semconv.RUN_NAME)]
    run_id, name = session.identify(*known, parent=parent)
    found = completed(resource, run_id, name, project, settings, guard)
    return {**found, **session.purpose}
