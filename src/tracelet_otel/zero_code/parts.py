"""Runs for the trainers of a script that calls nothing of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tracelet_otel import semconv
from tracelet_otel.instrumentation.lightning.trainings import Trainings

if TYPE_CHECKING:
    from tracelet_otel.run import Run
    from tracelet_otel.session.role import Role
    from tracelet_otel.settings import Settings


class ScriptsRun(Protocol):
    """The script's own run."""

    def open_now(self) -> tuple[Role, Mapping[str, Any]] | None:
        """Its role and the attributes of its resource, once it is open; None where it cannot be opened."""
        ...


def trainings_of(run: ScriptsRun, settings: Settings | None) -> Trainings | None:
    """What begins a run for each trainer, where the settings of the script's run ask for that."""

    def begin(number: int, model: str) -> Run | None:
        from tracelet_otel.api import begin_part
        from tracelet_otel.session.parent import Parent

        found = run.open_now()
        if found is None or settings is None:
            return None
        role, identity = found
        parent = Parent(str(identity[semconv.RUN_ID]), str(identity[semconv.RUN_NAME]), role.address)
        code = {name: value for name, value in identity.items() if name in semconv.VCS_ATTRIBUTES}
        return begin_part(settings, f"{parent.name}-{number}-{model}", parent, code)

    return Trainings(begin) if settings is not None and settings.runs == "trainer" else None
