"""What owner and relay tell each other beside the stream, as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from tracelet_otel import errors
from tracelet_otel.protocol.account import Account

CONTENT_TYPE: Final = "application/x-protobuf"
METRICS_PATH: Final = "/v1/metrics"
"""Where the stream goes. Source: OTLP specification, "OTLP/HTTP Request"."""
RUNS_PATH: Final = "/v1/runs/"
"""Followed by a run's id: how far its delivery is, as JSON."""
MAX_BODY_BYTES: Final = 64 * 2**20
"""Of a request, as it is sent and after it is unpacked."""

_ERRORS: Final = {
    error.__name__: error
    for error in (
        errors.ConfigurationError,
        errors.IncompatibleVersionError,
        errors.MissingDependencyError,
        errors.TrackerError,
        errors.TrackerUnavailableError,
    )
}


@dataclass(frozen=True)
class Taken:
    """What became of a request that was accepted, as a whole or in part."""

    news: str = ""
    """What its sender should know, a line each; empty for nothing."""
    rejected_points: int = 0
    """How many data points will never be accepted."""


@dataclass(frozen=True)
class Order:
    """What a relay is to do; goes over its standard input, since it holds secrets."""

    settings: Mapping[str, Any]
    """As `settings.to_plain` gives them."""
    resource: Mapping[str, Any]
    """Resource attributes of the process that owns the run."""
    run_id: str
    token: str
    """What each request has to bear."""
    journal_directory: str
    host: str
    port: int
    """0 for any that is free."""
    owner_pid: int
    owner_started: str
    """As `owner.started` gives it: a pid may be used again."""
    resumes: bool = False
    """Whether it takes the place of a relay that died."""

    def line(self) -> str:
        """This as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Order:
        """The order that a line holds."""
        return cls(**json.loads(line))


@dataclass(frozen=True)
class Ready:
    """The relay listens and has its run, or the reason why not."""

    port: int = 0
    run_id: str = ""
    urls: Mapping[str, str] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)
    """What has to be done before people see the run there, by backend."""
    error: str | None = None
    """Name of the error's class."""
    message: str = ""

    def line(self) -> str:
        """This as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Ready:
        """What a line says."""
        return cls(**json.loads(line))

    @classmethod
    def from_error(cls, error: BaseException) -> Ready:
        """The answer of a relay that cannot begin."""
        return cls(error=type(error).__name__, message=str(error))

    def raise_error(self) -> None:
        """Raise the error that the relay met, if it met one."""
        if self.error is not None:
            raise _ERRORS.get(self.error, errors.TrackerError)(self.message)


@dataclass(frozen=True)
class Status:
    """How far a run's delivery is."""

    urls: Mapping[str, str]
    accounts: Mapping[str, Account]
    errors: Mapping[str, int]
    """How many errors the relay kept away from the training, by what could not be done."""
    complete: bool
    """Whether each backend has taken everything and its run is closed."""
    over: bool
    """Whether nothing more is tried: all is delivered, or the relay's patience has ended."""
    unclosed: Sequence[str]
    """Backends that have not taken everything, or whose run is not closed."""
    lost: Mapping[str, str]
    """Backends that take nothing more, and why."""
    journal: str
    """Where the relay keeps what is not delivered."""

    def line(self) -> str:
        """This as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Status:
        """The status that JSON holds."""
        plain = json.loads(line)
        accounts = {name: Account(**account) for name, account in plain.pop("accounts").items()}
        return cls(accounts=accounts, **plain)
