"""The directory of the pictures that the documents show."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

DIRECTORY = Path(__file__).parents[1] / "docs" / "pictures"
MOST_BYTES = 120_000
"""Of a picture."""
_COLORS = 256
"""Of a picture of a page: text stays sharp, and the file is a third of what it was."""


def keep_png(name: str, png: bytes, height: int | None = None) -> None:
    """Keep a picture of a page, with few colors.

    Args:
        name: of the file, without its suffix.
        png: the picture.
        height: in pixels, at which it is cut; None keeps all of it.
    """
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    if height is not None:
        picture = picture.crop((0, 0, picture.width, min(height, picture.height)))
    few = picture.quantize(_COLORS, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    path = _path(f"{name}.png")
    few.save(path, optimize=True)
    _check(path)


def keep_svg(name: str, svg: str) -> None:
    """Keep a drawing."""
    path = _path(f"{name}.svg")
    path.write_text(svg)
    _check(path)


def _path(file: str) -> Path:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    return DIRECTORY / file


def _check(path: Path) -> None:
    size = path.stat().st_size
    print(f"{path.name}: {size:,} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} has {size:,} bytes; at most {MOST_BYTES:,} are kept")
