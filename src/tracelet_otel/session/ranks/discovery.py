"""Ways for a rank to find the run that another process owns. Each is a function that returns a `Find`."""

from __future__ import annotations

from collections.abc import Callable

from tracelet_otel.errors import RunLostError
from tracelet_otel.session.calls import NO_RELAY, Address, fetch_status, is_collector
from tracelet_otel.session.ranks.rendezvous import Rendezvous, RunAddress, address_from_this_process

Find = Callable[["RunAddress | None"], "RunAddress | None"]
"""A function that finds one run. It is called repeatedly until it has found the run, and again when the run's relay
does not answer.

Its argument is the address that is known so far, or None. It returns the run's address, or None if the run is not there
yet. It raises `RunLostError` if the run cannot be found at all, or is over.
"""


def by_rendezvous(rendezvous: Rendezvous) -> Find:
    """Find a run by the rendezvous file that its owner writes on this machine."""

    def find(known: RunAddress | None) -> RunAddress | None:
        found = rendezvous.read()
        if known is not None and (found is None or found.run_id != known.run_id):
            raise RunLostError("the run is over, or the process that owned it has died")
        return found

    return find


def in_joined_relay(address: Address, run_id: str, run_name: str, project: str) -> Find:
    """Find a run whose id is in the settings, in a relay that somebody else has started.

    Args:
        address: address and token of the relay.
        run_id: id of the run.
        run_name: name of the run, for people.
        project: project that the run belongs to.
    """
    run_address = address_from_this_process(run_id, run_name, project, address.endpoint, address.token)

    def find(known: RunAddress | None) -> RunAddress | None:
        # The first request creates the run in the relay. Rank 0 has to send it, so this rank waits for the run.
        is_there = known is not None or fetch_status(address, run_id) is not None or is_collector(address)
        return run_address if is_there else None

    return find


def by_known_id(run_id: str, run_name: str, project: str) -> Find:
    """Find a run whose id is in the settings and that has no relay. It needs no search.

    Args:
        run_id: id of the run.
        run_name: name of the run, for people.
        project: project that the run belongs to.
    """
    run_address = address_from_this_process(run_id, run_name, project, NO_RELAY.endpoint, NO_RELAY.token)
    return lambda _: run_address


def nowhere(reason: str) -> Find:
    """Find no run: there is no way to find it.

    Args:
        reason: why, in words that a user understands.
    """

    def find(_: RunAddress | None) -> RunAddress | None:
        raise RunLostError(reason)

    return find
