"""The `tracelet-otel` command."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from pathlib import Path

import click

from tracelet_otel.cli.run import run
from tracelet_otel.errors import TraceletError

_INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


@click.group()
@click.version_option(package_name="tracelet-otel")
def main() -> None:
    """PyTorch Lightning training, observable through OpenTelemetry."""


main.add_command(run)


def _becomes_a_deliverer() -> None:
    """Set what clients of trackers read in a process that delivers. Not for one that becomes a training."""
    from tracelet_otel._support.environment import set_environment_defaults
    from tracelet_otel.exporters.registry import delivering_environment

    set_environment_defaults(delivering_environment()[0])


@main.command()
@click.option("--backend", default="mlflow", show_default=True, help="Backends, separated by commas.")
@click.option("--backend-url", help="Address of the backend; default: what its own environment variable says.")
@click.option("--bind", default="127.0.0.1:4319", show_default=True, help="Host and port on which to listen.")
def relay(backend: str, backend_url: str | None, bind: str) -> None:
    """Take the runs of trainings that join with TRACELET_RELAY_ENDPOINT and the same TRACELET_RELAY_TOKEN."""
    from tracelet_otel.relay.process import prepare
    from tracelet_otel.relay.sidecar import Sidecar
    from tracelet_otel.settings import load

    _becomes_a_deliverer()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = load({"backend": backend, "backend_url": backend_url}, {"relay_bind": bind})
        if settings.relay_token is None:
            raise click.ClickException("give the token that requests have to bear as TRACELET_RELAY_TOKEN")
        sidecar = Sidecar(settings, settings.relay_token.get_secret_value())
    except (TraceletError, OSError) as error:
        raise click.ClickException(str(error)) from None
    finish = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: finish.set())
    prepare()
    click.echo(f"listening on port {sidecar.port}")
    sidecar.serve(finish)


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--backend-url", help="Address of the backend, where it has moved or needs credentials.")
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up on a backend that takes nothing for so long.",
)
def replay(path: Path, backend_url: str | None, patience: float) -> None:
    """Deliver what a relay left behind in PATH, a journal or a directory of journals."""
    from tracelet_otel.relay.replay import journals
    from tracelet_otel.relay.replay import replay as deliver

    _becomes_a_deliverer()
    left = False
    try:
        found = journals(path)
    except TraceletError as error:
        raise click.ClickException(str(error)) from None
    for journal in found:
        try:
            status = deliver(journal, patience, backend_url)
        except TraceletError as error:
            click.echo(f"{journal.name}: {error}", err=True)
            left = True
            continue
        left = left or not status.complete
        for name, account in status.accounts.items():
            click.echo(
                f"{journal.name}: {name}: {account.delivered} readings delivered, {account.refused} refused, "
                f"{account.pending} left" + (f": {account.problem}" if account.problem else "")
            )
    if left:
        sys.exit(1)


@main.command()
@click.option(
    "--relay", metavar="URL", help="Relay to ask; default: TRACELET_RELAY_ENDPOINT. Its token is TRACELET_RELAY_TOKEN."
)
@click.option("--json", "wants_json", is_flag=True, help="Print JSON.")
def doctor(relay: str | None, *, wants_json: bool) -> None:
    """Look for what is wrong, and say how it is mended. Exit code 1 says that there is a problem."""
    from tracelet_otel.doctor.report import as_json, as_text, examine, has_problem

    _becomes_a_deliverer()
    chapters = examine(relay)
    click.echo(as_json(chapters) if wants_json else as_text(chapters))
    if has_problem(chapters):
        sys.exit(1)


@main.command()
@click.option("--json", "wants_json", is_flag=True, help="Print JSON.")
def runs(*, wants_json: bool) -> None:
    """Show the runs of this user on this machine: those that go on, and those that wait in journals.

    The journals are those in TRACELET_JOURNAL_DIR, as for the trainings. Nothing is changed.
    """
    from tracelet_otel.cli.found import find_runs
    from tracelet_otel.cli.runs import as_json, as_text
    from tracelet_otel.settings import load

    try:
        found = find_runs(load({}, None).journal_dir)
    except TraceletError as error:
        raise click.ClickException(str(error)) from None
    click.echo(as_json(found) if wants_json else as_text(found, time.time()))


@main.command()
@click.argument("run", required=False)
@click.option("--once", is_flag=True, help="Print it once.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0.05),
    metavar="SECONDS",
    help="Time between two looks; default: 1 on a terminal, else 10.",
)
@click.option("--system", "with_system", is_flag=True, help="Show what was measured on GPU and host, too.")
def tail(run: str | None, every_s: float | None, *, once: bool, with_system: bool) -> None:
    """Show the last values of RUN until it ends: a name, an id, or the beginning of one.

    Without RUN it is the one that runs; of several, the one that began last.
    """
    from tracelet_otel.cli.found import find_runs
    from tracelet_otel.cli.tail import chosen, follow
    from tracelet_otel.settings import load

    try:
        follow(chosen(find_runs(load({}, None).journal_dir), run), every_s, once=once, with_system=with_system)
    except TraceletError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
