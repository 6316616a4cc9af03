"""The `tracelet-otel` command."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tracelet_otel.errors import TraceletError


@click.group()
@click.version_option(package_name="tracelet-otel")
def main() -> None:
    """PyTorch Lightning training, observable through OpenTelemetry."""


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
