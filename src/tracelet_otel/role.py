"""What a process does for its run: own it, follow another process's, or nothing."""

from __future__ import annotations

import functools
import logging
import multiprocessing
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

from tracelet_otel import semconv
from tracelet_otel.destination import Destination, Nowhere
from tracelet_otel.exporters.destination import InProcess
from tracelet_otel.exporters.registry import trackers
from tracelet_otel.guard import Guard
from tracelet_otel.instrumentation.launching import InProcess as InRank
from tracelet_otel.instrumentation.launching import Launching, NoLaunching
from tracelet_otel.membership import Membership
from tracelet_otel.place import Place, job_of, place_of
from tracelet_otel.relay.client import Address
from tracelet_otel.relay.finders import Finder, MeetingRanks, NamedRun, NowhereToLook
from tracelet_otel.relay.rendezvous import Handover, Rendezvous, meeting_of_this_process
from tracelet_otel.settings import Settings, environment, set_handover, take_handover

_logger = logging.getLogger("tracelet_otel")

_OTHER_NODE: Final = (
    "it is on another node than rank 0, and nothing says where their relay is. Start `tracelet-otel relay` where all "
    "nodes reach it, and set TRACELET_RELAY_ENDPOINT, TRACELET_RELAY_TOKEN and TRACELET_RUN_ID for all ranks"
)

_NO_JOB: Final = (
    "nothing says to which job it belongs: start it as a rank with torchrun, SLURM or Lightning, or set "
    "TRACELET_RELAY_ENDPOINT, TRACELET_RELAY_TOKEN and TRACELET_RUN_ID for all ranks"
)

MakeInRank = Callable[[Handover, Settings], InRank]
"""Makes what a process has to do that starts as a copy of this one."""


class Role(Protocol):
    """Of one process in one run."""

    membership: Membership
    launching: Launching

    def open(self, resource: Mapping[str, Any], guard: Guard) -> Destination:
        """Where this process's stream goes.

        Raises:
            TraceletError: a run cannot be had.
        """
        ...

    def close(self) -> None:
        """The run has ended, or could not begin."""
        ...


class Owning:
    """The run is this process's: it has it created, and ends it.

    Args:
        settings: what the run is to do.
        place: of this process, as far as its environment tells.
        rendezvous: where the other ranks look for the run; None without a relay.
        launching: tells it to processes that this one starts.
    """

    def __init__(
        self, settings: Settings, place: Place | None, rendezvous: Rendezvous | None, launching: Launching
    ) -> None:
        self.membership = Membership(place)
        self.launching = launching
        self._settings = settings
        self._rendezvous = rendezvous

    def open(self, resource: Mapping[str, Any], guard: Guard) -> Destination:
        """See `Role.open`."""
        settings = self._settings
        if self._rendezvous is not None:
            return self._relayed(resource, guard)
        if "relay" not in settings.model_fields_set:
            _logger.warning(
                "there is no relay on %s: trackers live in this process, and what they have not taken when it dies "
                "is lost. relay=False says that this is meant",
                sys.platform,
            )
        return InProcess(trackers(settings), resource, guard)

    def close(self) -> None:
        """See `Role.close`."""
        if self._rendezvous is not None:
            self._rendezvous.withdraw()

    def _relayed(self, resource: Mapping[str, Any], guard: Guard) -> Destination:
        from tracelet_otel.relay.destination import Connection, Relayed
        from tracelet_otel.relay.joined import JoinedRelay
        from tracelet_otel.relay.launch import RelayProcess

        settings, run_id = self._settings, str(resource[semconv.RUN_ID])
        connection: Connection
        if settings.relay_endpoint is not None:
            connection = JoinedRelay(settings, resource, run_id)
        else:
            connection = RelayProcess(settings, resource, run_id)
        publish = functools.partial(self._publish, resource)
        return Relayed(connection, run_id, lambda: self.membership.attributes, guard, publish)

    def _publish(self, resource: Mapping[str, Any], endpoint: str, token: str) -> None:
        if self._rendezvous is not None:
            run_id, run_name, project = (
                str(resource[name]) for name in (semconv.RUN_ID, semconv.RUN_NAME, semconv.PROJECT_NAME)
            )
            self._rendezvous.publish(meeting_of_this_process(run_id, run_name, project, endpoint, token))


class Following:
    """The run is another process's: this one sends what its rank logs.

    Args:
        membership: of this process.
        finder: finds the run.
    """

    def __init__(self, membership: Membership, finder: Finder) -> None:
        self.membership = membership
        self.launching: Launching = NoLaunching()
        self._finder = finder

    def open(self, resource: Mapping[str, Any], guard: Guard) -> Destination:
        """See `Role.open`."""
        from tracelet_otel.relay.followed import Followed

        who = str(self.membership.place) if self.membership.place else "this rank"
        return Followed(self._finder, lambda: self.membership.attributes, who, guard)

    def close(self) -> None:
        """See `Role.close`."""


class Silent:
    """Nothing is recorded here: it is, or was, elsewhere."""

    def __init__(self) -> None:
        self.membership = Membership()
        self.launching: Launching = NoLaunching()

    def open(self, resource: Mapping[str, Any], guard: Guard) -> Destination:
        """See `Role.open`."""
        return Nowhere()

    def close(self) -> None:
        """See `Role.close`."""


class _Handing:
    """Tells processes that this one starts where they find its run."""

    def __init__(self, handover: Handover, settings: Settings, make: MakeInRank) -> None:
        self._make = make
        self._settings = settings
        self._handover = handover

    def begin(self, training: int) -> None:
        """See `Launching.begin`."""
        self._handover = replace(self._handover, training=training)
        set_handover(self._handover.text())

    def end(self) -> None:
        """See `Launching.end`."""
        set_handover(None)

    @property
    def in_process(self) -> InRank:
        """See `Launching.in_process`."""
        return self._make(self._handover, self._settings)


class Roles:
    """Which role this process has in each of the runs that its script starts, one after the other.

    Args:
        make: makes what a copy of this process has to do.
    """

    def __init__(self, make: MakeInRank) -> None:
        self._make = make
        self._run_number = 0
        self._job: str | None = None
        self._handover: Handover | None = None

    def next(self, settings: Settings) -> Role:
        """The role in the run that is started now."""
        if is_copied_by_multiprocessing():
            return Silent()
        told = environment()
        place = place_of(told)
        # Whoever this process starts is no rank of the run that it was told of.
        handed = take_handover()
        self._run_number += 1
        if place is None or place.is_first:
            if not _has_relay(settings):
                return Owning(settings, place, None, NoLaunching())
            # Once it has started ranks, a process has the variables of one itself; these know the first name.
            self._job = self._job or (job_of(told) if place else None) or uuid.uuid4().hex
            handing = _Handing(Handover(self._job, self._run_number, 0), settings, self._make)
            return Owning(settings, place, Rendezvous(self._job, self._run_number), handing)
        self._handover = self._handover or Handover.from_text(handed or "")
        return self._rank(settings, place, job_of(told))

    def _rank(self, settings: Settings, place: Place, job: str | None) -> Role:
        if not _has_relay(settings):
            _logger.warning("%s records nothing: without a relay (relay=False) only rank 0 does", place)
            return Silent()
        handover = self._handover
        if handover is not None and self._run_number < handover.run_number:
            # The script runs from its beginning: rank 0 has ended this run before it started this process.
            return Silent()
        first_training = handover.training if handover and handover.run_number == self._run_number else 0
        job = handover.job if handover else job
        return Following(Membership(place, first_training), self._finder(settings, place, job))

    def _finder(self, settings: Settings, place: Place, job: str | None) -> Finder:
        if settings.relay_endpoint and settings.relay_token and settings.run_id:
            address = Address(settings.relay_endpoint.rstrip("/"), settings.relay_token.get_secret_value())
            return NamedRun(address, settings.run_id, settings.exp_name or settings.run_id, settings.project)
        if place.is_on_another_node:
            return NowhereToLook(_OTHER_NODE)
        return MeetingRanks(Rendezvous(job, self._run_number)) if job else NowhereToLook(_NO_JOB)


def following(handover: Handover) -> Following:
    """The role of a process that another one started as a copy of itself."""
    membership = Membership()
    membership.training = handover.training
    return Following(membership, MeetingRanks(Rendezvous(handover.job, handover.run_number)))


def is_copied_by_multiprocessing() -> bool:
    """Whether `multiprocessing` runs the main module again, to start another process from it."""
    # In other processes this is another name of `__main__`. Source: multiprocessing, "Programming guidelines".
    main = sys.modules.get("__mp_main__")
    return getattr(main, "__name__", "") == "__mp_main__" and multiprocessing.parent_process() is None


def _has_relay(settings: Settings) -> bool:
    return settings.relay or settings.relay_endpoint is not None
