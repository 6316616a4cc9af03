"""How a rank finds the run that another process owns: a function for each way."""

from __future__ import annotations

from collections.abc import Callable

from tracelet_otel.errors import RunLostError
from tracelet_otel.session.calls import NO_RELAY, Address, fetch_status, is_collector
from tracelet_otel.session.ranks.rendezvous import Rendezvous, RunAddress, address_from_this_process

Find = Callable[["RunAddress | None"], "RunAddress | None"]
"""Finds one run. It is called often until the run is there, and again when the run's relay does not answer.

It gets the address that is known so far, or None. It returns the address, or None as long as the run is not there. It
raises `RunLostError` where the run cannot be found, or is over.
"""


def by_rendezvous(rendezvous: Rendezvous) -> Find:
    """Find a run by the file that its owner writes on this machine."""

    def find(known: RunAddress | None) -> RunAddress | None:
        found = rendezvous.read()
        if known is not None and (found is None or found.run_id != known.run_id):
            raise RunLostError("the run is over, or the process that owned it has died")
        return found

    return find


def in_joined_relay(address: Address, run_id: str, run_name: str, project: str) -> Find:
    """Find a run whose id is known beforehand, in a relay that somebody else keeps running.

    Args:
        address: the relay's.
        run_id: the run's.
        run_name: what people call it.
        project: what it belongs to.
    """
    run_address = address_from_this_process(run_id, run_name, project, address.endpoint, address.token)

    def find(known: RunAddress | None) -> RunAddress | None:
        # The first request makes the run, and that is up to rank 0.
        is_there = known is not None or fetch_status(address, run_id) is not None or is_collector(address)
        return run_address if is_there else None

    return find


def by_known_id(run_id: str, run_name: str, project: str) -> Find:
    """Find a run whose id is known beforehand and that has no relay; the arguments are those of `in_joined_relay`."""
    run_address = address_from_this_process(run_id, run_name, project, NO_RELAY.endpoint, NO_RELAY.token)
    return lambda _: run_address


def nowhere(reason: str) -> Find:
    """Find nothing.

    Args:
        reason: why, in words that a user understands.
    """

    def find(_: RunAddress | None) -> RunAddress | None:
        raise RunLostError(reason)

    return find
