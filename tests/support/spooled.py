"""A run of which nothing is delivered: what it records of files stays in its spool, and is read there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.instrumentation.signals import make_signals
from tracelet_otel.protocol.files import entry_names, read_entry


@dataclass(frozen=True)
class Spooled:
    """A file in a spool."""

    kind: str
    name: str
    step: int | None
    content: Path


class SpooledRun:
    """Records what Lightning does from now on, until it is closed.

    Args:
        directory: where the spool is to be.
        captures_media: as setting `capture_media` says.
    """

    def __init__(self, directory: Path, *, captures_media: bool = True) -> None:
        self.run_id = "r1"
        self.spool = directory / "r1.files"
        self.guard = Guard()
        provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
        part = Participation(captures_media=captures_media, journals=directory)
        signals = make_signals(provider, self.guard, participation=part)
        signals.spool.open(self)
        LightningInstrumentor().take_over(signals)

    def close(self) -> None:
        """Record nothing any more."""
        LightningInstrumentor().uninstrument()

    @property
    def files(self) -> list[Spooled]:
        """In the order in which they were recorded."""
        return files_in(self.spool)


def files_in(spool: Path) -> list[Spooled]:
    """All files of a spool."""
    entries = [read_entry(spool / name) for name in entry_names(spool)]
    return [
        Spooled(one.file.kind.value, one.file.name, one.file.step, one.content)
        for one in entries
        if one.content is not None
    ]
