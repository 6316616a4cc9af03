"""Begins and ends a run that is reported to an SDK which somebody else has configured."""

from __future__ import annotations

from dataclasses import replace

from opentelemetry.metrics import MeterProvider

from tracelet_otel import semconv
from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.terminal import show
from tracelet_otel.instrumentation.global_events import GlobalEvents
from tracelet_otel.instrumentation.outcome import error_that_ended
from tracelet_otel.instrumentation.own_run import OwnRun
from tracelet_otel.instrumentation.signals import Signals, traced
from tracelet_otel.instrumentation.tracing.global_provider import GlobalSpans
from tracelet_otel.protocol.samples import complete_resource, resource_attributes
from tracelet_otel.resource.process import process_identity


def identify(provider: MeterProvider, guard: Guard) -> None:
    """Add the run's identity to the resource of a meter provider, where it has none."""
    try:
        if semconv.RUN_ID not in resource_attributes(provider):
            complete_resource(provider, process_identity(environment(), guard))
    except Exception as error:
        guard.report("what is exported does not say of which run it is", error)


def with_spans(signals: Signals, provider: MeterProvider) -> Signals:
    """Signals that also have spans, where it is measured what the time goes to, and know the run's identity.

    Spans and events go to the global providers, which somebody else may have configured.
    """
    known = resource_attributes(provider)
    signals.events.add_exporter(GlobalEvents())
    found = traced(signals, provider, lambda: str(known.get(semconv.RUN_ID, "")))
    if found.tracing is not None:
        found.tracing.add_exporter(GlobalSpans(lambda: {**known, **signals.membership.attributes}))
    return replace(found, identity=known)


def end(run: OwnRun, signals: Signals, error_before: BaseException | None) -> None:
    """End the run: record what is queued, and report the final outcome.

    Args:
        run: the run.
        signals: what it reports to.
        error_before: what `last_error` returned at the run's beginning.
    """
    try:
        run.end()
        signals.recorder.drain()
        signals.settle(None, error_that_ended(error_before))
        if not run.shows_end and not signals.membership.rank:
            show(signals.time_spent)
        run.send_files()
        signals.outcome.end()
    except Exception as error:
        signals.guard.report("the run did not end as it should", error)
