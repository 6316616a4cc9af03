"""Writes what was measured into the documents: each table between its marks, from `benchmarks/results/`.

    python -m benchmarks.report

Nothing is measured here, and no figure in a table is typed by hand. Fails where a budget does not hold.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.budgets import all_threads_us, budgets, over_nothing, ratio
from benchmarks.results import KEPT, Results
from benchmarks.tables import grid
from benchmarks.time_tables import checkpoints, cost_of_phases, cost_of_verdicts, phases, pools, verdicts

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/performance.md", "docs/scale.md", "docs/time.md")
_LOGGERS = {
    "do-nothing logger": "a logger that does nothing",
    "ours: three trackers": "tracelet-otel, three trackers at once",
}
_BLOCK = re.compile(r"(<!-- figures: (?P<name>[\w ]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)
_MORE_OF_A_START: Final = {
    "prepared": "prepared",
    "their client, processor": "CPU of its own client",
    "ours, processor": "our CPU",
}
"""Columns that older figures of a start do not have, by the names of what they show."""


def _machine(results: Results) -> str:
    """Where figures come from, of each machine and day that there is."""
    measured: dict[str, list[str]] = {}
    for name in results.names():
        measured.setdefault(_described(results.load(name)["machine"]), []).append(name.replace("_", " "))
    if len(measured) == 1:
        return f"{next(iter(measured))}.\n"
    return "\n".join(f"- {machine}: {', '.join(names)}." for machine, names in measured.items()) + "\n"


def _described(found: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {version}"
        for name, version in found.items()
        if name not in ("date", "python", "system", "processor", "processors", "memory_gib")
    )
    return (
        f"Measured on {found['date']}: {found['system']}, {found['processors']} cores of {found['processor']}, "
        f"{found['memory_gib']} GiB; Python {found['python']}, {versions}"
    )


def _budgets(results: Results) -> str:
    found = budgets(results.load)
    lines = ((one.what, f"{one.measured:.3g}", f"{one.most:.3g}", "yes" if one.holds else "**no**") for one in found)
    return grid(("what", "measured", "at most", "holds"), lines)


def _overhead(results: Results, metrics: int) -> str:
    costs = results.load("overhead")["results"][f"rows of {metrics} metrics"]
    dummy_us = over_nothing(costs, "do-nothing logger", "row_us")
    lines = []
    for case, cost in costs.items():
        if case == "no logger":
            continue
        row_us, rss_mib, helpers_us = (
            over_nothing(costs, case, figure) for figure in ("row_us", "peak_rss_mib", "other_processes_us_per_row")
        )
        lines.append(
            (
                case,
                f"{median(row_us):.1f}",
                f"{min(row_us):.1f} to {max(row_us):.1f}",
                f"{ratio(row_us, dummy_us):.2f}",
                f"{median(all_threads_us(costs, case)):.0f}",
                # A difference may be a little below zero, which a format would show as -0.
                str(round(median(rss_mib))),
                str(round(median(helpers_us))),
                f"{cost['other_processes_rss_mib']['median']:.0f}",
                f"{cost['start_s']['median']:.2f}",
                f"{cost['stop_s']['median']:.2f}",
            )
        )
    header = (
        "", "training thread, µs a row", "min to max", "x do-nothing", "all threads, µs a row",
        "peak RSS, MiB more", "its helper processes, CPU µs a row", "their RSS, MiB", "start, s", "stop, s",
    )  # fmt: skip
    return grid(header, lines)


def _cost(results: Results) -> str:
    """The few figures of the README: what logging five metrics at each step adds to a training without a logger."""
    costs = results.load("overhead")["results"]["rows of 5 metrics"]
    lines = [
        (
            _LOGGERS.get(case, case.replace("ours: ", "tracelet-otel, ")),
            f"{median(over_nothing(costs, case, 'row_us')):,.0f} µs",
            f"{round(median(over_nothing(costs, case, 'peak_rss_mib')))} MiB",
        )
        for case in costs
        if case != "no logger"
    ]
    return grid(("logger", "time added to each step", "memory added to the training"), lines)


def _parts(results: Results) -> str:
    found = results.load("parts")["results"]
    lines = (
        (part, *(f"{of_run[part]['median']:.1f}" for of_run in found.values())) for part in next(iter(found.values()))
    )
    return grid(("CPU of other threads, µs a row", *found), lines)


def _start(results: Results) -> str:
    lines = []
    for tracker, found in results.load("start")["results"].items():
        took_s = {whose: of["median"] for whose, of in found.items()}
        more = [f"{took_s[name]:.2f}" for name in _MORE_OF_A_START if name in took_s]
        lines.append(
            (
                tracker,
                f"{took_s['their client']:.2f}",
                f"{took_s['ours']:.2f}",
                f"{found['ours']['min']:.2f} to {found['ours']['max']:.2f}",
                f"{took_s['ours'] - took_s['their client']:+.2f}",
                *more,
            )
        )
    titles = ("seconds", "its own client", "`start_logging`", "min to max", "more", *_MORE_OF_A_START.values())
    return grid(titles[: len(lines[0])], lines)


def _throughput(results: Results) -> str:
    lines = []
    for tracker, found in results.load("throughput")["results"].items():
        rates = found["median"]
        theirs, exporter, ours = (rates[what] for what in ("their client", "exporter", "ours"))
        lines.append(
            (
                tracker,
                f"{theirs:,.0f}",
                f"{rates['rows ready']:,.0f}" if "rows ready" in rates else "",
                f"{exporter:,.0f}",
                f"{exporter / theirs:.2f}",
                f"{ours:,.0f}",
                f"{ours / theirs:.2f}",
                f"{rates['relay alone']:,.0f}",
            )
        )
    header = (
        "readings a second", "its own client", "rows ready", "our exporter", "x client", "whole way", "x client",
        "into the relay alone",
    )  # fmt: skip
    return grid(header, lines)


def _wandb_parts(results: Results) -> str:
    found = results.load("wandb_parts")["results"]
    lines = (
        (part, *(f"{of_case[part]['median']:.1f}" if part in of_case else "" for of_case in found.values()))
        for part in found["our exporter"]
    )
    return grid(("µs a row", *found), lines)


def _scale(results: Results, what: str) -> str:
    found = results.load("scale")["results"][what]
    if what == "ranks":
        lines = [(f"{int(ranks):,}", f"{one['us']:.1f}", f"{one['peak_mib']:.1f}") for ranks, one in found.items()]
        return grid(("ranks", "merge, µs a reading", "peak, MiB"), lines)
    lines = [
        (
            f"{int(number):,}",
            f"{one['us']:.1f}",
            f"{one['relay_us']:.1f}",
            f"{one['mib']:.0f}",
            f"{one['relay_mib']:.0f}",
        )
        for number, one in found.items()
    ]
    header = (what, "training process, µs a reading", "relay, µs a reading", "training, MiB more", "relay, MiB")
    return grid(header, lines)


def _many_ranks(results: Results, name: str = "ranks") -> str:
    found = results.load(name)["results"]
    lines = [
        (
            f"{one['runs']:,}",
            f"{one['ranks']:,}",
            f"{one['readings'] / one['seconds']:,.0f}",
            f"{one['cores']:.2f}",
            f"{one['us']:.0f}",
            f"{one['memory_mib']:.0f}",
            f"{one['longest_s']:.2f}",
            f"{one['accepted_s']:.2f}",
            f"{one['again']:,}",
            f"{one['missing']:,} / {one['wrong']:,} / {one['twice']:,}",
        )
        for one in found.values()
    ]
    header = (
        "runs", "ranks of each", "readings a second", "relay, cores", "relay, µs a reading", "relay, MiB at most",
        "longest way of a row, s", "all accepted after the last row, s", "requests sent again",
        "missing / wrong / twice",
    )  # fmt: skip
    return grid(header, lines)


def _long_run(results: Results) -> str:
    found = results.load("ranks")["results"]["long"]
    lines = [
        (f"{tenth}", f"{found['readings'] * tenth // 10:,}", f"{us:.1f}", f"{mib:.0f}")
        for tenth, (us, mib) in enumerate(zip(found["tenths_us"], found["tenths_mib"][1:], strict=True), 1)
    ]
    return grid(("tenth", "readings by its end", "relay, µs a reading", "relay, MiB"), lines)


def _outage(results: Results) -> str:
    lines = []
    for found in results.load("outage")["results"].values():
        grown = {name: found["most_mib"][name] - before for name, before in found["before_mib"].items()}
        delivered = f"{found['same']:,} by the tracker" if "status" in found else f"{found['same']:,} in the journal"
        after = f"{found['replay_mib']:.0f} in all" if "status" in found else f"{found['reader_mib']:.0f} more"
        lines.append(
            (
                f"{found['hours']:g}",
                f"{found['readings']:,}",
                f"{grown['training']:.0f}",
                f"{grown['relay']:.0f}",
                delivered,
                after,
            )
        )
    header = (
        "hours", "readings", "training, MiB more", "relay, MiB more", "equal to what was logged",
        "who read the journal, MiB",
    )  # fmt: skip
    return grid(header, lines)


def _ill_trackers(results: Results) -> str:
    lines = (
        (
            tracker,
            *(f"{one[half][quantile]:.3f}" for half in ("before_ms", "after_ms") for quantile in ("p50", "p99")),
            f"{one['stop_s']:.2f}",
        )
        for tracker, one in results.load("ill_trackers")["results"].items()
    )
    header = ("tracker", "before: median of a step, ms", "99th percentile", "after", "99th percentile", "stop, s")
    return grid(header, lines)


def _chains(results: Results) -> str:
    lines = (
        (
            case,
            f"{one['ranks']:,}",
            f"{one['readings'] / one['seconds']:,.0f}",
            f"{one['relay_us']:.1f}",
            f"{one['collector_us']:.1f}",
            f"{one['relay_mib']:.0f}",
            f"{one['accepted_s']:.1f}",
            f"{one['ended_s']:.1f}",
            f"{one['wrong'] + one['missing'] + one['twice']}",
        )
        for case, one in results.load("nodes")["results"].items()
    )
    header = (
        "before one relay", "ranks", "readings a second", "relay, CPU µs a reading", "collector, CPU µs a reading",
        "relay, MiB", "accepted after the last row, s", "the run's end, s", "means wrong, missing or twice",
    )  # fmt: skip
    return grid(header, lines)


def _gpus(results: Results) -> str:
    lines = (
        (gpus, str(one["points"]), f"{one['first_ms']:.2f}", f"{one['median_ms']:.2f}", f"{one['p95_ms']:.2f}")
        for gpus, one in results.load("gpu_collection")["results"].items()
    )
    return grid(("GPUs", "readings", "first, ms", "median, ms", "95th percentile, ms"), lines)


def _zero_code(results: Results) -> str:
    found = results.load("zero_code_start")["results"]
    bare_ms = found["without ours"]["start_ms"]
    lines = (
        (
            case,
            f"{one['start_ms']:.0f}",
            "{:.0f} to {:.0f}".format(*one["middle_half_ms"]),
            f"{one['start_ms'] - bare_ms:+.0f}",
            f"{one['end_ms']:.0f}",
        )
        for case, one in found.items()
    )
    return grid(("under `opentelemetry-instrument`", "start, ms", "middle half", "later, ms", "end, ms"), lines)


def _repetitions(results: Results) -> str:
    names = ("overhead", "parts", "start", "throughput", "wandb_parts")
    counts = ", ".join(f"{name.replace('_', ' ')} {results.load(name)['repetitions']}" for name in names)
    rows = results.load("overhead")["rows"]
    return f"Repetitions, of which a figure is the median: {counts}. Rows of a training in overhead: {rows:,}.\n"


TABLES: dict[str, Callable[[Results], str]] = {
    "machine": _machine,
    "budgets": _budgets,
    "cost": _cost,
    "overhead 5": lambda results: _overhead(results, 5),
    "overhead 50": lambda results: _overhead(results, 50),
    "parts": _parts,
    "start": _start,
    "throughput": _throughput,
    "wandb parts": _wandb_parts,
    "names": lambda results: _scale(results, "names"),
    "rows": lambda results: _scale(results, "rows"),
    "ranks": lambda results: _scale(results, "ranks"),
    "many ranks": _many_ranks,
    "many ranks on a slower machine": lambda _: _many_ranks(KEPT, "ranks_slower_machine"),
    "long run": _long_run,
    "chains": _chains,
    "outage": _outage,
    "ill trackers": _ill_trackers,
    "cost of phases": cost_of_phases,
    "phases": phases,
    "checkpoints": checkpoints,
    "pools": pools,
    "verdicts": verdicts,
    "cost of verdicts": cost_of_verdicts,
    "gpus": _gpus,
    "zero code": _zero_code,
    "repetitions": _repetitions,
}
"""By the name that the documents call them by."""


def show(results: Results, *names: str) -> None:
    """Print tables, for who has just measured what is in them."""
    for name in names:
        print(f"{name}\n\n{TABLES[name](results)}")


def filled(text: str, results: Results) -> str:
    """A document with its tables as these results have them."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{TABLES[block['name']](results)}\n{block[3]}", text)


def main() -> None:
    """Write the tables, and say which budgets do not hold."""
    for name in DOCUMENTS:
        path = ROOT / name
        path.write_text(filled(path.read_text(), KEPT))
    show(KEPT, "budgets")
    if not all(one.holds for one in budgets(KEPT.load)):
        sys.exit("a budget does not hold")


if __name__ == "__main__":
    main()
