"""What `tracelet-otel tail` shows of a run. Pure."""

from __future__ import annotations

from typing import Final

from tracelet_otel import semconv
from tracelet_otel.cli.found import FoundRun, RunState, how_it_ended
from tracelet_otel.cli.runs import readings
from tracelet_otel.cli.words import printable, short_id
from tracelet_otel.doctor.quantities import age
from tracelet_otel.protocol.notice import LastValue, Notice

_SMALLEST: Final = 0.01
"""Share of the time of a step; phases that take less are shown together."""
_LONGEST_NAME: Final = 48


def picture(run: FoundRun, notice: Notice, now_s: float, *, with_system: bool = False, most: int | None = None) -> str:
    """The run as lines of text.

    Args:
        run: the run.
        notice: what its relay has told last.
        now_s: the time, in seconds since the epoch.
        with_system: whether readings of GPU and host are shown.
        most: how many metrics are shown, those that were logged last; None for all.
    """
    name = f"{printable(notice.run_name)} ({short_id(notice.run_id)}) in {printable(notice.project)}"
    head = [f"{name}: {_how_it_goes(run, notice, now_s)}", readings(run)]
    urls = [f"{backend}: {printable(url)}" for backend, url in notice.urls.items()]
    timed = [one for one in notice.values if one.name.startswith(semconv.TIME_PREFIX)]
    logged = [one for one in notice.values if not one.is_system and one not in timed]
    system = [one for one in notice.values if one.is_system]
    shown = [*logged, *(system if with_system else ())]
    left = shown[most:] if most is not None else []
    notes = [f"{len(left)} more"] if left else []
    if system and not with_system:
        notes.append(f"{len(system)} of GPU and host, with --system")
    table = _table(sorted(shown[:most], key=lambda one: (one.is_system, one.name)), now_s)
    return "\n".join([*head, *urls, *table, *([f"  and {', '.join(notes)}"] if notes else []), *_time(timed, now_s)])


def end_line(run: FoundRun, notice: Notice) -> str:
    """How a run has ended, and where the rest of it is."""
    line = f"ended: {how_it_ended(notice)}"
    if run.state is RunState.WAITING:
        line += f"; what is not delivered waits for `tracelet-otel replay {run.journal}`"
    return line


def _how_it_goes(run: FoundRun, notice: Notice, now_s: float) -> str:
    end_s = now_s if notice.end_unix_nano is None else notice.end_unix_nano / 1e9
    parts = [run.state.value]
    if notice.start_unix_nano is not None and (run.state is RunState.RUNNING or notice.end_unix_nano is not None):
        took = age(max(end_s - notice.start_unix_nano / 1e9, 0))
        parts = [f"running for {took}" if run.state is RunState.RUNNING else f"ended after {took}"]
    if run.state is RunState.ENDING:
        parts.append("its relay delivers the rest")
    if run.state is RunState.RUNNING and run.has_relay is False:
        parts.append(f"its relay is gone, and has told this {age(now_s - notice.told_unix_nano / 1e9)} ago")
    trainer = notice.trainer
    if trainer is not None:
        parts += [] if trainer.epoch is None else [f"epoch {trainer.epoch:,}"]
        parts.append(f"step {trainer.step:,}")
        parts += [] if trainer.share is None else [f"{trainer.share:.0%} done"]
        if run.state is RunState.RUNNING and trainer.remaining_s is not None:
            parts.append(f"{age(trainer.remaining_s)} left")
    return ", ".join(parts)


def _table(values: list[LastValue], now_s: float) -> list[str]:
    if not values:
        return ["  nothing is logged yet"]
    rows = [
        (printable(one.name)[:_LONGEST_NAME], f"{one.value:.6g}", f"{one.step:,}", _age(one, now_s)) for one in values
    ]
    head = ("metric", "value", "step", "age")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(4)]
    return [
        f"  {name:<{widths[0]}}  {value:>{widths[1]}}  {step:>{widths[2]}}  {since:>{widths[3]}}"
        for name, value, step, since in [head, *rows]
    ]


def _time(timed: list[LastValue], now_s: float) -> list[str]:
    """Where the time goes, as the last row that says so has it."""
    if not timed:
        return []
    newest = max(timed, key=lambda one: one.time_unix_nano)
    spent = {one.name.removeprefix(semconv.TIME_PREFIX): one.value for one in timed}
    rate = spent.pop(semconv.TIME_SAMPLES_PER_SECOND.removeprefix(semconv.TIME_PREFIX), None)
    total_s = sum(spent.values())
    lines = [] if rate is None else [f"  {rate:,.0f} samples a second in each process ({_age(newest, now_s)} ago)"]
    if total_s > 0:
        large = {phase: s / total_s for phase, s in spent.items() if s >= _SMALLEST * total_s}
        parts = [f"{phase} {share:.0%}" for phase, share in sorted(large.items(), key=lambda one: -one[1])]
        lines.append(f"  a step of {total_s * 1e3:,.4g} ms: {', '.join(parts)}")
    return lines


def _age(one: LastValue, now_s: float) -> str:
    return age(max(now_s - one.time_unix_nano / 1e9, 0))
