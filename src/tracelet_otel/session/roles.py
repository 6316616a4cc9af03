"""Which role this process has in a run, by who started it and how."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tracelet_otel._support.environment import environment, take_spawn_context
from tracelet_otel._support.guard import log
from tracelet_otel._support.spawned import is_running_main_again
from tracelet_otel.instrumentation.launching import InStartedProcess as InRank
from tracelet_otel.resource.membership import Membership
from tracelet_otel.resource.rank_info import RankInfo, job_of, rank_info_of
from tracelet_otel.session.calls import Address
from tracelet_otel.session.owner import Owner
from tracelet_otel.session.ranks.announcement import RunAnnouncement
from tracelet_otel.session.ranks.discovery import Find, by_known_id, by_rendezvous, in_joined_relay, nowhere
from tracelet_otel.session.ranks.follower import Follower
from tracelet_otel.session.ranks.rendezvous import Rendezvous, SpawnContext
from tracelet_otel.session.role import Role, Silent
from tracelet_otel.settings import Settings

_OTHER_NODE: Final = (
    "it is on another node than rank 0, and nothing says where their relay is. Start `tracelet-otel relay` where all "
    "nodes reach it, and set TRACELET_RELAY_ENDPOINT, TRACELET_RELAY_TOKEN and TRACELET_RUN_ID for all ranks"
)

_NO_JOB: Final = (
    "nothing says to which job it belongs: start it as a rank with torchrun, SLURM or Lightning, or set "
    "TRACELET_RELAY_ENDPOINT, TRACELET_RELAY_TOKEN and TRACELET_RUN_ID for all ranks"
)

MakeInRank = Callable[[Settings, SpawnContext], InRank]
"""Makes what a process has to do that starts as a copy of this one."""


class Roles:
    """Which role this process has in each of the runs that its script starts, one after the other.

    Args:
        make: makes what a copy of this process has to do.
    """

    def __init__(self, make: MakeInRank) -> None:
        self._make = make
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._run_number = 0
        self._job: str | None = None
        self._spawn_context: SpawnContext | None = None
        self._last = Membership()

    def next(self, settings: Settings, of_copies: Settings | None = None) -> Role:
        """The role in the run that is started now.

        Args:
            settings: what the run is to do.
            of_copies: what it is to do in ranks that start as copies of this process, where that differs.
        """
        if is_running_main_again():
            return Silent()
        if os.getpid() != self._pid:
            # A forked process has a script of its own.
            self._forget()
        told = environment()
        rank_info = self._with_world_size(rank_info_of(told))
        # Whoever this process starts is no rank of the run that it was told of.
        handed = take_spawn_context()
        self._run_number += 1
        if rank_info is None or rank_info.is_first:
            if not settings.has_relay and not settings.streams:
                return Owner(settings, rank_info, None)
            # Once it has started ranks, a process has the variables of one itself; these know the first name.
            self._job = self._job or (job_of(told) if rank_info else None) or uuid.uuid4().hex
            spawn_context = SpawnContext(self._job, self._run_number, 0)
            announcement = RunAnnouncement(
                spawn_context, functools.partial(self._make, of_copies or settings), at_once=rank_info is not None
            )
            return self._remembered(Owner(settings, rank_info, announcement))
        self._spawn_context = self._spawn_context or SpawnContext.from_text(handed or "")
        return self._remembered(self._rank(settings, rank_info, job_of(told)))

    def _remembered(self, role: Role) -> Role:
        self._last = role.membership
        return role

    def _with_world_size(self, rank_info: RankInfo | None) -> RankInfo | None:
        # Lightning takes WORLD_SIZE out of the environment at the end of a training.
        if rank_info is None or rank_info.world_size is not None:
            return rank_info
        return replace(rank_info, world_size=self._last.world_size)

    def _rank(self, settings: Settings, rank_info: RankInfo, job: str | None) -> Role:
        if not settings.has_relay:
            if not settings.streams:
                log.warning("%s records nothing: without a relay (relay=False) only rank 0 does", rank_info)
                return Silent()
            if settings.trackers:
                log.warning("%s is in no tracker: without a relay (relay=False) only rank 0 is", rank_info)
        spawn_context = self._spawn_context
        if spawn_context is not None and self._run_number < spawn_context.run_number:
            # The script runs from its beginning: rank 0 has ended this run before it started this process.
            return Silent()
        started_in = spawn_context.training if spawn_context and spawn_context.run_number == self._run_number else 0
        job = spawn_context.job if spawn_context else job
        return Follower(Membership(rank_info, started_in), self._find(settings, rank_info, job), settings)

    def _find(self, settings: Settings, rank_info: RankInfo, job: str | None) -> Find:
        if settings.relay_endpoint and settings.relay_token and settings.run_id:
            address = Address(settings.relay_endpoint.rstrip("/"), settings.relay_token.get_secret_value())
            return in_joined_relay(address, settings.run_id, settings.exp_name or settings.run_id, settings.project)
        if settings.run_id and not settings.trackers:
            return by_known_id(settings.run_id, settings.exp_name or settings.run_id, settings.project)
        if rank_info.is_on_another_node:
            return nowhere(_OTHER_NODE)
        return by_rendezvous(Rendezvous(job, self._run_number)) if job else nowhere(_NO_JOB)


def following(spawn_context: SpawnContext, settings: Settings) -> Follower:
    """The role of a process that another one started as a copy of itself."""
    membership = Membership()
    membership.training = spawn_context.training
    return Follower(membership, by_rendezvous(Rendezvous(spawn_context.job, spawn_context.run_number)), settings)
