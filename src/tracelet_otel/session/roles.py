"""Chooses the role of this process in a run, from its environment and settings."""

from __future__ import annotations

import functools
import os
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tracelet_otel._support.environment import (
    environment,
    is_rank_of_recorder,
    is_recorded_elsewhere,
    set_recorder_text,
    take_spawn_context,
)
from tracelet_otel._support.guard import log
from tracelet_otel._support.spawned import is_running_main_again
from tracelet_otel.exporters.registry import without_secrets
from tracelet_otel.instrumentation.launching import InStartedProcess as InRank
from tracelet_otel.resource.attempts import run_id_of_job
from tracelet_otel.resource.membership import Membership
from tracelet_otel.resource.rank_info import RankInfo, job_of, rank_info_of
from tracelet_otel.session.calls import Address
from tracelet_otel.session.owner import Owner
from tracelet_otel.session.parent import Parent
from tracelet_otel.session.ranks.announcement import RunAnnouncement
from tracelet_otel.session.ranks.discovery import Find, by_known_id, by_rendezvous, in_joined_relay, nowhere
from tracelet_otel.session.ranks.follower import Follower
from tracelet_otel.session.ranks.rendezvous import Rendezvous, SpawnContext
from tracelet_otel.session.role import Role, Silent
from tracelet_otel.settings import RELAY_PLATFORMS, Settings, to_plain

_OTHER_NODE: Final = (
    "it is on another node than rank 0, and nothing says where their relay is. Start `tracelet-otel relay` where all "
    "nodes reach it, and set TRACELET_RELAY_ENDPOINT, TRACELET_RELAY_TOKEN and TRACELET_RUN_ID for all ranks"
)

_NO_JOB: Final = (
    "nothing says to which job it belongs: start it as a rank with torchrun, SLURM or Lightning, or set "
    "TRACELET_RELAY_ENDPOINT, TRACELET_RELAY_TOKEN and TRACELET_RUN_ID for all ranks"
)

MakeInRank = Callable[[Settings, SpawnContext], InRank]
"""Makes the function that is called in a process that starts as a copy of this one."""


class Roles:
    """The roles of this process in the runs that its script starts, one after the other.

    Args:
        make: makes the function that is called in a copy of this process.
    """

    def __init__(self, make: MakeInRank) -> None:
        self._make = make
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._run_number = 0
        self._start_number = 0
        """How many runs the script itself has begun: those that are no parts of others."""
        self._job: str | None = None
        self._spawn_context: SpawnContext | None = None
        self._last = Membership()

    def next(self, settings: Settings, of_copies: Settings | None = None, parent: Parent | None = None) -> Role:
        """Choose the role of this process in the run that is started now.

        Args:
            settings: settings of the run.
            of_copies: settings for ranks that start as copies of this process; None for the same settings.
            parent: the run that it is a part of; None for none.
        """
        if is_running_main_again():
            return Silent()
        if os.getpid() != self._pid:
            # A forked process counts its runs from the beginning.
            self._forget()
        variables = environment()
        rank_info = self._with_world_size(rank_info_of(variables))
        # Removed from the environment: processes that this one starts are no ranks of the run that it names.
        is_rank, inherited = is_rank_of_recorder(), take_spawn_context()
        self._run_number += 1
        self._start_number += parent is None
        if rank_info is None or rank_info.is_first:
            if not settings.has_relay and not settings.streams:
                return self._remembered(Owner(settings, rank_info, None, parent))
            # A process that has started ranks has the variables of a rank itself. Its ranks know the first job name.
            self._job = self._job or (job_of(variables) if rank_info else None) or uuid.uuid4().hex
            spawn_context = SpawnContext(self._job, self._run_number, 0)
            plain, takes_workers = to_plain(without_secrets(of_copies or settings)), _takes_workers(settings, parent)
            announcement = RunAnnouncement(
                spawn_context,
                functools.partial(self._make, of_copies or settings),
                plain,
                at_once=rank_info is not None or takes_workers,
            )
            return self._remembered(Owner(settings, rank_info, announcement, parent))
        self._spawn_context = self._spawn_context or SpawnContext.from_text(inherited or "")
        role = self._rank(settings, rank_info, job_of(variables))
        if is_rank and is_recorded_elsewhere():
            # This process works for that run as its rank, and in no other way.
            set_recorder_text(None)
        return self._remembered(role)

    def _remembered(self, role: Role) -> Role:
        self._last = role.membership
        role.membership.start_number = self._start_number
        return role

    def _with_world_size(self, rank_info: RankInfo | None) -> RankInfo | None:
        # Lightning removes WORLD_SIZE from the environment at the end of a training.
        if rank_info is None or rank_info.world_size is not None:
            return rank_info
        return replace(rank_info, world_size=self._last.world_size)

    def _rank(self, settings: Settings, rank_info: RankInfo, job: str | None) -> Role:
        if not settings.has_relay:
            if not settings.streams:
                log.warning("%s records nothing: without a relay (relay=False) only rank 0 does", rank_info)
                return Silent(Membership(rank_info))
            if settings.trackers:
                log.warning("%s is in no tracker: without a relay (relay=False) only rank 0 is", rank_info)
        spawn_context = self._spawn_context
        if spawn_context is not None and self._run_number < spawn_context.run_number:
            # This process runs the script from its beginning. Rank 0 had ended this run before it started this process.
            return Silent()
        started_in = spawn_context.training if spawn_context and spawn_context.run_number == self._run_number else 0
        job = spawn_context.job if spawn_context else job
        return Follower(Membership(rank_info, started_in), self._find(settings, rank_info, job), settings)

    def _find(self, settings: Settings, rank_info: RankInfo, job: str | None) -> Find:
        run_id = settings.run_id or run_id_of_job(settings, environment(), self._start_number)
        name = settings.exp_name or run_id or ""
        if run_id and not settings.trackers:
            return by_known_id(run_id, name, settings.project)
        if settings.relay_endpoint and settings.relay_token and run_id:
            address = Address(settings.relay_endpoint.rstrip("/"), settings.relay_token.get_secret_value())
            return in_joined_relay(address, run_id, name, settings.project)
        if rank_info.is_on_another_node:
            return nowhere(_OTHER_NODE)
        return by_rendezvous(Rendezvous(job, self._run_number)) if job else nowhere(_NO_JOB)


def _takes_workers(settings: Settings, parent: Parent | None) -> bool:
    """Whether processes that work for this one may look for the run."""
    return parent is None and settings.workers != "off" and sys.platform in RELAY_PLATFORMS


def following(spawn_context: SpawnContext, settings: Settings) -> Follower:
    """Make the role of a process that was started as a copy of another one."""
    membership = Membership()
    membership.training = spawn_context.training
    return Follower(membership, by_rendezvous(Rendezvous(spawn_context.job, spawn_context.run_number)), settings)
