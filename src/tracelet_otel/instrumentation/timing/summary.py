"""The table at the end of a run that says where the time of its trainings went. Pure."""

from __future__ import annotations

from typing import Final

from tracelet_otel.instrumentation.timing.verdict import FitTime, judged

_SMALLEST: Final = 0.005
"""Share of the time; what takes less is shown as one line."""


def summary(fit: FitTime) -> str:
    """The table, with the verdict below it.

    Args:
        fit: what the trainings have spent their time on.

    Returns:
        Lines of text; empty where no step was made.
    """
    total_s = sum(fit.seconds.values())
    if not fit.steps or total_s <= 0:
        return ""
    rate = "" if fit.samples is None else f", {fit.samples / fit.total_s:,.0f} samples a second"
    lines = [f"tracelet: {fit.steps:,} steps in {total_s:,.1f} s{rate}"]
    shown = {phase: s for phase, s in fit.seconds.items() if s >= _SMALLEST * total_s}
    rows = [(f"{phase.name} {phase.owner}".strip(), s) for phase, s in shown.items()]
    rows.sort(key=lambda row: -row[1])
    others_s = total_s - sum(shown.values())
    if others_s > 0:
        rows.append(("all else", others_s))
    width = max(len(name) for name, _ in rows)
    lines += [f"  {name:<{width}}  {s:10,.2f} s  {s / total_s:6.1%}" for name, s in rows]
    if fit.device_s:
        parts = ", ".join(f"{phase} {s * 1e3:,.2f} ms" for phase, s in fit.device_s.items())
        lines.append(f"  on the device, in a step: {parts}")
    verdict = judged(fit)
    if verdict is not None:
        lines.append(f"  {verdict.name}: {verdict.text}")
    return "\n".join(lines)
