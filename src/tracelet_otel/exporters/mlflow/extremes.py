"""The lowest and highest values of a run's metrics, so that its description can name them. Pure.

They are kept as a tag of the run, which is stored together with the values that changed them. So they are right also
where the relay was killed or the run is continued, and nobody has to read a million values again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tracelet_otel.exporters.mlflow.mapping import MAX_TAG_LENGTH
from tracelet_otel.protocol.decode import Reading
from tracelet_otel.protocol.main_metrics import is_of_training

EXTREMES_TAG: Final = "mlflow.tracelet.extremes"
"""MLflow's pages do not show tags that begin with `mlflow.`."""
_LONGEST_NUMBERS: Final = 100
"""More characters than four numbers take as JSON."""


@dataclass(frozen=True, slots=True)
class Extreme:
    """The lowest and the highest finite value of one metric, each with the step at which it was logged first."""

    lowest: float
    lowest_step: int
    highest: float
    highest_step: int

    def and_also(self, value: float, step: int) -> Extreme:
        """The extremes of these values and another one."""
        if value < self.lowest:
            return Extreme(value, step, self.highest, self.highest_step)
        if value > self.highest:
            return Extreme(self.lowest, self.lowest_step, value, step)
        return self


class Extremes:
    """The extremes of each metric, by its key.

    Those of a metric are known where all its values were seen. They are not where the run has values from an older
    release, or where a tag has no room for more metrics.

    Args:
        known: extremes by key.
        unknown: keys of metrics of which earlier values were not seen.
    """

    def __init__(self, known: Mapping[str, Extreme], unknown: frozenset[str] = frozenset()) -> None:
        self.known = known
        self._unknown = unknown

    @classmethod
    def of(cls, tags: Mapping[str, str], keys: Iterable[str]) -> Extremes:
        """Those of a run that is there already.

        Args:
            tags: tags of the run.
            keys: keys of all metrics that it has.
        """
        try:
            known = {key: Extreme(*numbers) for key, numbers in json.loads(tags.get(EXTREMES_TAG, "{}")).items()}
        except (AttributeError, TypeError, ValueError):
            # Somebody else has changed the tag.
            known = {}
        return cls(known, frozenset(keys) - known.keys())

    def and_those_of(self, keyed: Iterable[tuple[str, Reading]]) -> Extremes:
        """The extremes with those of further readings, from pairs (key, reading). This object stays as it is."""
        known = dict(self.known)
        room = MAX_TAG_LENGTH - sum(len(key) + _LONGEST_NUMBERS for key in known)
        unknown = set(self._unknown)
        for key, reading in keyed:
            if not is_of_training(key) or key in unknown or not math.isfinite(reading.value):
                continue
            if key in known:
                known[key] = known[key].and_also(reading.value, reading.step)
                continue
            room -= len(key) + _LONGEST_NUMBERS
            if room < 0:
                unknown.add(key)
            else:
                known[key] = Extreme(reading.value, reading.step, reading.value, reading.step)
        return Extremes(known, frozenset(unknown))

    @property
    def text(self) -> str:
        """Text of the tag."""
        numbers = {key: [one.lowest, one.lowest_step, one.highest, one.highest_step] for key, one in self.known.items()}
        return json.dumps(numbers, separators=(",", ":"))
