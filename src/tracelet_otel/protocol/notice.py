"""The notice of a run: what its relay says of it to whoever looks from outside, as `tracelet-otel tail`.

It is a small file beside the run's journal, which the relay writes over again and again. Who reads it asks nobody,
locks nothing, and needs no token. It has no secrets, and no value but the last of each metric.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.trainer_state import TrainerState

NOTICE_SUFFIX: Final = ".now"
"""Of the file, which has the name of the run's journal but for that."""
_CHECKSUM: Final = 8
"""Length of the checksum at the beginning of the line."""


class LastValue(NamedTuple):
    """The newest value of a metric that was passed on to trackers."""

    name: str
    value: float
    step: int
    axis: str
    time_unix_nano: int
    """When it was logged, in nanoseconds since the epoch."""
    is_system: bool
    """Whether it was measured on GPU or host, and not logged by a training."""


class SeenProcess(NamedTuple):
    """A process on the machine of the relay."""

    pid: int
    started: str
    """What `processes.started` gives for it, since a pid may be used again."""


@dataclass(frozen=True)
class Notice:
    """How a run is doing."""

    run_id: str
    run_name: str
    project: str
    host: str
    """Name of the machine of the relay, and of the processes below."""
    relay: SeenProcess
    owner: SeenProcess | None = None
    """The process that trains; None where it cannot be seen from the relay."""
    parent_run_id: str | None = None
    backends: tuple[str, ...] = ()
    start_unix_nano: int | None = None
    """When it began, in nanoseconds since the epoch; None where that is not known."""
    has_ended: bool = False
    """Whether the training has said that it ends, or has to be taken for gone."""
    is_over: bool = False
    """Whether the relay does no more: all is delivered, or it has given up."""
    is_complete: bool = False
    """Whether each backend has everything."""
    end_unix_nano: int | None = None
    outcome: str | None = None
    """How it ended, or goes: one of `semconv.OUTCOME_*`; None where nobody has said it."""
    accounts: Mapping[str, Account] = field(default_factory=dict)
    """By backend; empty before the relay knows them."""
    urls: Mapping[str, str] = field(default_factory=dict)
    trainer: TrainerState | None = None
    """How far the trainer is; None where none was heard of."""
    values: tuple[LastValue, ...] = ()
    """By the time of logging, the newest first."""
    told_unix_nano: int = 0
    """When the relay wrote this, in nanoseconds since the epoch. Where nothing changes, it writes nothing."""

    def line(self) -> bytes:
        """The notice as one line: a checksum and JSON."""
        plain = {**vars(self), "accounts": {name: asdict(one) for name, one in self.accounts.items()}}
        content = json.dumps(plain, separators=(",", ":")).encode()
        return b"%08x %s\n" % (zlib.crc32(content), content)

    @classmethod
    def from_line(cls, line: bytes) -> Notice:
        """Read a notice from its line.

        Raises:
            ValueError: it was read while it was written, or is of another version.
        """
        checksum, content = line[:_CHECKSUM], line[_CHECKSUM + 1 : -1]
        if checksum != b"%08x" % zlib.crc32(content):
            raise ValueError("a part of it is missing")
        plain: dict[str, Any] = json.loads(content)
        try:
            owner, trainer = plain.pop("owner"), plain.pop("trainer")
            return cls(
                relay=SeenProcess(*plain.pop("relay")),
                owner=None if owner is None else SeenProcess(*owner),
                trainer=None if trainer is None else TrainerState(*trainer),
                backends=tuple(plain.pop("backends")),
                accounts={name: Account(**account) for name, account in plain.pop("accounts").items()},
                values=tuple(LastValue(*value) for value in plain.pop("values")),
                **plain,
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"this is not the notice of a run: {error}") from error
