"""How a rank finds the run that another process owns."""

from __future__ import annotations

from typing import Protocol

from tracelet_otel.errors import RunLostError
from tracelet_otel.session.calls import NO_RELAY, Address, fetch_status, is_collector
from tracelet_otel.session.ranks.rendezvous import Rendezvous, RunAddress, address_from_this_process


class Finder(Protocol):
    """Finds one run."""

    def find(self) -> RunAddress | None:
        """The run; None as long as it is not there. Asked often.

        Raises:
            RunLostError: it cannot be found.
        """
        ...

    def find_again(self) -> RunAddress:
        """Where the run is now that its relay does not answer.

        Raises:
            RunLostError: it is over.
        """
        ...


class MeetingRanks:
    """Finds a run by the file that its owner writes.

    Args:
        rendezvous: where the file is.
    """

    def __init__(self, rendezvous: Rendezvous) -> None:
        self._rendezvous = rendezvous

    def find(self) -> RunAddress | None:
        """See `Finder.find`."""
        return self._rendezvous.read()

    def find_again(self) -> RunAddress:
        """See `Finder.find_again`."""
        run_address = self._rendezvous.read()
        if run_address is None:
            raise RunLostError("the run is over, or the process that owned it has died")
        return run_address


class NamedRun:
    """A run whose id is known beforehand, in a relay that somebody else keeps running.

    Args:
        address: the relay's.
        run_id: the run's.
        run_name: what people call it.
        project: what it belongs to.
    """

    def __init__(self, address: Address, run_id: str, run_name: str, project: str) -> None:
        self._address = address
        self._run_address = address_from_this_process(run_id, run_name, project, address.endpoint, address.token)

    def find(self) -> RunAddress | None:
        """See `Finder.find`: the first request makes the run, and that is up to rank 0."""
        known = fetch_status(self._address, self._run_address.run_id) or is_collector(self._address)
        return self._run_address if known else None

    def find_again(self) -> RunAddress:
        """See `Finder.find_again`."""
        return self._run_address


class KnownRun:
    """A run whose id is known beforehand and that has no relay.

    Args:
        run_id: the run's.
        run_name: what people call it.
        project: what it belongs to.
    """

    def __init__(self, run_id: str, run_name: str, project: str) -> None:
        self._run_address = address_from_this_process(run_id, run_name, project, NO_RELAY.endpoint, NO_RELAY.token)

    def find(self) -> RunAddress | None:
        """See `Finder.find`."""
        return self._run_address

    def find_again(self) -> RunAddress:
        """See `Finder.find_again`."""
        return self._run_address


class NowhereToLook:
    """There is nothing to find.

    Args:
        reason: in words that a user understands.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def find(self) -> RunAddress | None:
        """See `Finder.find`."""
        raise RunLostError(self._reason)

    def find_again(self) -> RunAddress:
        """See `Finder.find_again`."""
        raise RunLostError(self._reason)
