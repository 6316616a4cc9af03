"""What a `CSVLogger` of Lightning's has written."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path


def csv_points(path: Path) -> Counter[tuple[str, int, float]]:
    """Name, step and value of each number in a file `metrics.csv`."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return Counter(
        (name, int(row["step"]), float(text)) for row in rows for name, text in row.items() if text and name != "step"
    )
