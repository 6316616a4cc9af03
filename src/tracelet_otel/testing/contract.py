"""Tests that every tracker has to pass: names, steps, values, times, hyperparameters, identity and outcome."""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.delivery import Delivery
from tracelet_otel.protocol.decode import Param, Reading, Report
from tracelet_otel.protocol.report_kinds import HPARAMS, TAGS
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.testing.backend import ContractBackend, Stored, point, reading
from tracelet_otel.testing.queue import ListQueue

NAMES = [
    "loss", "Loss", "lo@ss", "größe", "a//b", "/a", "7 days", "損失", "x" * 300, "x" * 301, "a b", "", "a/", "a.b",
    "a/b/c", "a_b/c", "a-b/c", "a/b-c", "plain", "plain/plain", "trainer/global_step", "_step", "_timestamp",
    "_runtime", "_own", "metric/_step", "line\nbreak", 'quo"te\\', "epoch", "step",
]  # fmt: skip
"""Names of metrics that a tracker may change by mistake, or may confuse with each other."""
_PATIENCE_S = 30


class TrackerContract:
    """The tests. Subclass it in a test module, with a fixture `backend` that returns a `ContractBackend`.

    Where your tracker does something in another way, and its users are told so, leave out the test of it by
    `test_... = None` in your class.
    """

    @pytest.fixture
    def identity(self) -> RunIdentity:
        """A run that is not in any store yet."""
        run_id, project = uuid.uuid4().hex, "name of the project"
        attributes = {semconv.RUN_ID: run_id, semconv.PROJECT_NAME: project, semconv.PROCESS_OWNER: "ada"}
        return RunIdentity(run_id, "name of the run", project, attributes)

    def record(
        self,
        backend: ContractBackend,
        identity: RunIdentity,
        readings: Iterable[Reading] = (),
        params: Mapping[str, Param] | None = None,
        outcome: str = semconv.OUTCOME_FINISHED,
        tags: Mapping[str, str] | None = None,
        **config: object,
    ) -> Stored:
        """Write a whole run as a relay does it, and read it from the store.

        Args:
            backend: the tracker.
            identity: identity of the run.
            readings: all readings of the run.
            params: all hyperparameters of the run.
            outcome: the run's outcome.
            tags: all tags of the run, its note among them.
            config: further settings.
        """
        delivery = Delivery(backend.tracker(**config), Guard(), ListQueue(readings))
        delivery.open({**identity.attributes, semconv.RUN_NAME: identity.run_name})
        reports = [Report(HPARAMS, name, param) for name, param in (params or {}).items()]
        reports += [Report(TAGS, name, Param(text)) for name, text in (tags or {}).items()]
        delivery.tell(outcome, reports=reports)
        account = delivery.close(_PATIENCE_S)
        assert account.pending == 0, account
        assert delivery.complete
        return backend.stored(identity.run_id)

    def test_names_steps_values_and_times(self, backend: ContractBackend, identity: RunIdentity) -> None:
        """1500 readings are stored as they were logged."""
        readings = [reading(f"metric {n % 7}", n / 3, n // 7, 1_700_000_000_000 + n // 7) for n in range(1500)]
        assert self.record(backend, identity, readings).points == Counter(backend.kept(readings))

    def test_identity_hyperparameters_and_place(self, backend: ContractBackend, identity: RunIdentity) -> None:
        """The run has its name, project and resource attributes, and all of 250 hyperparameters."""
        tracker = backend.tracker()
        place = tracker.open(identity)
        params = {f"p{number}": Param(str(number), semconv.TYPE_INT) for number in range(250)}
        tracker.log_params(params)
        tracker.close(semconv.OUTCOME_FINISHED)
        stored = backend.stored(identity.run_id)
        assert (stored.name, stored.project) == ("name of the run", "name of the project")
        assert {name: str(value) for name, value in stored.params.items()} == {n: p.text for n, p in params.items()}
        assert {name: stored.facts[name] for name in identity.attributes} == {
            name: str(value) for name, value in identity.attributes.items()
        }
        assert place.url

    @pytest.mark.parametrize("outcome", [*semconv.OUTCOMES, semconv.OUTCOME_RUNNING, None])
    def test_outcome(self, backend: ContractBackend, identity: RunIdentity, outcome: str | None) -> None:
        """Each outcome becomes the status that `ContractBackend.statuses` names."""
        tracker = backend.tracker()
        tracker.open(identity)
        tracker.close(outcome)
        expected = backend.statuses.get(outcome, backend.statuses[None])
        status = backend.stored(identity.run_id).status
        assert status == expected
        # Whoever was killed has not finished.
        assert (status == backend.statuses["finished"]) == (outcome == semconv.OUTCOME_FINISHED)

    def test_what_was_delivered_before_a_kill_is_not_there_twice(
        self, backend: ContractBackend, identity: RunIdentity
    ) -> None:
        """After a kill, the journal may lack the last batch that was delivered: the next process sends it again."""
        before = [reading("loss", n / 3, n, 1_700_000_000_000 + n) for n in range(50)]
        again = [
            *(reading("loss", 50 / 3 + n, 50 + n, 1_700_000_000_050 + n) for n in range(20)),
            *(reading("acc@1", 2.0, n, 1_700_000_000_050 + n) for n in range(20)),
        ]
        after = [reading("loss", 99.0, 99, 1_700_000_001_000)]
        first = backend.tracker()
        first.open(identity)
        first.log_readings(before)
        first.log_readings(again)
        first.close(None)
        readings = [*before, *again, *after]
        assert self.record(backend, identity, [*again, *after]).points == Counter(backend.kept(readings))

    def test_late_and_negative_steps(self, backend: ContractBackend, identity: RunIdentity) -> None:
        """A step may be smaller than the one before it."""
        readings = [reading("loss", 1.0, 5, 1001), reading("loss", 2.0, 3, 1002), reading("loss", 3.0, -1, 1003)]
        assert self.record(backend, identity, readings).points == Counter(backend.kept(readings))

    def test_two_values_at_one_step(self, backend: ContractBackend, identity: RunIdentity) -> None:
        """A name may be logged twice at one step."""
        readings = [reading("loss", 1.0, 5, 1001), reading("loss", 2.0, 5, 1002), reading("loss", 3.0, 6, 1002)]
        assert self.record(backend, identity, readings).points == Counter(backend.kept(readings))

    def test_nonfinite_and_extreme_values(self, backend: ContractBackend, identity: RunIdentity) -> None:
        """NaN, infinities, and very small and large numbers are stored as they are."""
        values = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e-30, 3e38, 1e300, 0.1, 2**53 + 1.0]
        readings = [reading("loss", value, step, 1000 + step) for step, value in enumerate(values)]
        assert self.record(backend, identity, readings).points == Counter(backend.kept(readings))

    def test_names_are_kept_apart_and_can_be_read_back(self, backend: ContractBackend, identity: RunIdentity) -> None:
        """A name may be any text."""
        readings = [reading(name, float(index), 3, 1000) for index, name in enumerate(NAMES)]
        assert self.record(backend, identity, readings).points == Counter(backend.kept(readings))

    def test_gpu_and_host_are_where_the_tracker_shows_them(
        self, backend: ContractBackend, identity: RunIdentity
    ) -> None:
        """Readings of GPU and host are stored under `ContractBackend.system_names`, also when the run is continued."""

        def collection(step: int, time_ms: int) -> list[Reading]:
            names = enumerate(backend.system_names)
            return [reading(name, value, step, time_ms, is_system=True) for value, name in names]

        logged = [reading("loss", 0.5, 3, 1000), reading("loss", 0.25, 4, 1900)]
        first, second = collection(3, 1500), collection(4, 2000)
        self.record(backend, identity, [logged[0], *first])
        # A value without a step gets the step of the logged row before it, and not that of a reading of the host.
        without_step = reading("lr", 0.1, 0, 2300, axis=semconv.AXIS_NONE)
        stored = self.record(backend, identity, [logged[1], *second, without_step])
        expected = Counter(backend.kept([*logged, *first, *second]))
        assert stored.points == expected + Counter([point("lr", backend.step_without_axis(4), 0.1, 2300)])

    def test_what_is_logged_under_the_name_of_a_reading_of_the_host_is_kept_apart(
        self, backend: ContractBackend, identity: RunIdentity
    ) -> None:
        """A user may log a metric with the name of a reading of the host."""
        measured = reading("system/cpu_utilization_percentage", 1.0, 3, 1000, is_system=True)
        logged = reading("system/cpu_utilization_percentage", 2.0, 3, 1000)
        stored = self.record(backend, identity, [measured, logged])
        assert stored.points == Counter(backend.kept([measured, logged]))

    def test_what_is_logged_under_one_name_stays_under_it_when_the_run_goes_on(
        self, backend: ContractBackend, identity: RunIdentity
    ) -> None:
        """A tracker translates names in the next process as in the process before it."""
        names = ["a/b/c", "a_b/c", "lo@ss", "lo#ss", "_step", "metric/_step"]
        first = [reading(name, float(index), 1, 1000) for index, name in enumerate(names)]
        second = [reading(name, float(index), 2, 2000) for index, name in enumerate(reversed(names))]
        self.record(backend, identity, first)
        assert self.record(backend, identity, second).points == Counter(backend.kept([*first, *second]))

    def test_a_reading_that_cannot_be_stored_is_refused_alone_and_said_once(
        self, backend: ContractBackend, identity: RunIdentity, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The other readings are stored. A tracker that stores everything has no such reading."""
        readings = [reading("loss", float(step), step, 1000 + step) for step in range(10)]
        bad = [] if backend.refused is None else [backend.refused, backend.refused._replace(time_unix_nano=5)]
        queue = ListQueue([*readings[:5], *bad, *readings[5:]])
        delivery = Delivery(backend.tracker(), Guard(), queue)
        delivery.open(identity.attributes)
        delivery.tell(semconv.OUTCOME_FINISHED)
        account = delivery.close(_PATIENCE_S)
        assert (account.delivered, account.refused, account.pending) == (10, len(bad), 0)
        assert caplog.text.count(f"{backend.name} refused metric") == bool(bad)
        assert backend.stored(identity.run_id).points == Counter(backend.kept(readings))

    def test_hyperparameters_of_every_kind(self, backend: ContractBackend, identity: RunIdentity) -> None:
        """Numbers, bools, None, text, and names in groups."""
        params = {
            "lr": Param("0.1", semconv.TYPE_FLOAT),
            "flag": Param("True", semconv.TYPE_BOOL),
            "nothing": Param("None", semconv.TYPE_NONE),
            "text": Param("64"),
            "empty": Param(""),
            "model/width": Param("7", semconv.TYPE_INT),
            "model/depth": Param("3", semconv.TYPE_INT),
        }
        stored = self.record(backend, identity, [reading("loss", 1.0)], params)
        assert stored.params == backend.shown_params(params)

    def test_hyperparameters_that_come_later_are_added(self, backend: ContractBackend, identity: RunIdentity) -> None:
        """They are added also to a group that exists already."""
        first = {"model/width": Param("7", semconv.TYPE_INT), "lr": Param("0.1", semconv.TYPE_FLOAT)}
        later = {"model/depth": Param("3", semconv.TYPE_INT)}
        tracker = backend.tracker()
        tracker.open(identity)
        tracker.log_params(first)
        tracker.log_params(later)
        tracker.close(semconv.OUTCOME_FINISHED)
        assert backend.stored(identity.run_id).params == backend.shown_params({**first, **later})

    def test_tags_and_the_note(self, backend: ContractBackend, identity: RunIdentity) -> None:
        """They are where the tracker shows them. A tracker that has no place for them gets everything else."""
        tags = {"team": "vision", "baseline": "", "a/b.c-d e": "1: =,", "größe": "XL", "long name" * 20: "x"}
        note = {semconv.NOTE: "What is tried here:\n- a larger width\n- größer"}
        readings = [reading("loss", 1.0)]
        params = {"team": Param("a hyperparameter")}
        stored = self.record(backend, identity, readings, params, tags={**tags, **note})
        expected = backend.shown_tags(tags), note[semconv.NOTE]
        takes_tags = hasattr(backend.opened[-1], "set_tags")
        assert (stored.tags, stored.note) == (expected if takes_tags else (None, None))
        assert (stored.points, stored.params) == (Counter(backend.kept(readings)), backend.shown_params(params))

    def test_a_tag_that_gets_another_value(self, backend: ContractBackend, identity: RunIdentity) -> None:
        """The last value stands, also where the next process sets all of them again, and the others stay."""
        sets = [{"stage": "draft", "fold": "1", semconv.NOTE: "first"}, {"stage": "final"}, {"fold": "", "new": "2"}]
        again = {"stage": "published", "fold": "", "new": "2", semconv.NOTE: "last"}
        for calls, outcome in ((sets, None), ([again, again], semconv.OUTCOME_FINISHED)):
            tracker = backend.tracker()
            tracker.open(identity)
            for tags in calls if hasattr(tracker, "set_tags") else ():
                assert tracker.set_tags(tags) == {}
            tracker.close(outcome)
        stored = backend.stored(identity.run_id)
        if hasattr(tracker, "set_tags"):
            assert (stored.tags, stored.note) == (backend.shown_tags(without_note(again)), "last")

    def test_a_creation_that_is_repeated_finds_its_run(self, backend: ContractBackend, identity: RunIdentity) -> None:
        """A process that was killed may have created the run already: the next one continues it."""
        first = backend.tracker()
        first.open(identity)
        first.close(None)
        readings = [reading("loss", 1.0)]
        assert self.record(backend, identity, readings).points == Counter(backend.kept(readings))

    def test_a_run_is_continued(self, backend: ContractBackend, identity: RunIdentity) -> None:
        """What the run has stays, and its status becomes that of its new end."""
        first = [reading("acc@1", 1.0, 0, 1000)]
        second = [reading("acc#1", 2.0, 0, 2000), reading("acc@1", 3.0, 1, 2000)]
        params = {"lr": Param("0.1", semconv.TYPE_FLOAT)}
        self.record(backend, identity, first, params, semconv.OUTCOME_FAILED)
        stored = self.record(backend, identity, second, params, run_id=identity.run_id)
        assert stored.points == Counter(backend.kept([*first, *second]))
        assert stored.status == backend.statuses["finished"]

    @pytest.mark.parametrize("is_late", [False, True])
    def test_a_run_that_has_a_parent(self, backend: ContractBackend, identity: RunIdentity, is_late: bool) -> None:
        """It is shown as a child, also where the store gets the parent after it."""
        parents, name = {semconv.PARENT_RUN_ID: identity.run_id}, {semconv.PARENT_RUN_NAME: identity.run_name}
        own = {**identity.attributes, semconv.RUN_ID: uuid.uuid4().hex, **parents, **name}
        child = replace(identity, run_id=own[semconv.RUN_ID], run_name="a child", attributes=own)
        trackers = {run.run_id: backend.tracker() for run in (identity, child)}
        for run in (child, identity) if is_late else (identity, child):
            trackers[run.run_id].open(run)
        trackers[child.run_id].log_readings([reading("loss", 1.0)])
        for tracker in trackers.values():
            tracker.close(semconv.OUTCOME_FINISHED)
        stored = backend.stored(child.run_id)
        assert stored.parent == backend.shown_parent(identity)
        assert stored.facts[semconv.PARENT_RUN_ID] == identity.run_id

    def test_a_run_that_does_not_exist_cannot_be_continued(
        self, backend: ContractBackend, identity: RunIdentity
    ) -> None:
        """The setting `run_id` has to name a run that exists."""
        with pytest.raises(ConfigurationError, match=r"no run to continue: .*nowhere"):
            backend.tracker(run_id="nowhere").open(identity)


def without_note(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags without the note, which trackers show elsewhere."""
    return {name: value for name, value in tags.items() if name != semconv.NOTE}
