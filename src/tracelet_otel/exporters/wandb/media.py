"""Media of a run, as W&B's own types: what they are made of, and what W&B keeps of them in a row of history."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tracelet_otel.exporters.names import with_hash
from tracelet_otel.exporters.wandb.mapping import OWN_COLUMNS
from tracelet_otel.protocol.files import FileKind, RunFile

if TYPE_CHECKING:
    import wandb

_TYPE: Final = "._type"
"""End of the column that says of which type media are."""
_LONGEST_PART: Final = 180
"""In bytes. W&B's client makes a file's name of a part of a column, and adds 50 bytes at most."""
_LONGEST: Final = 100
"""In characters, of a column that is cut."""
_PAGE: Final = '<meta charset="utf-8"><pre style="white-space: pre-wrap">{}</pre>'


def column_of(name: str) -> str:
    """The column of media: their name, except where W&B has a column of that name, or could make no file of it."""
    if any(len(part.encode("utf-8", "replace")) > _LONGEST_PART for part in name.split("/")):
        return with_hash(name.replace("/", "_").encode()[:_LONGEST].decode(errors="ignore"), name, _LONGEST)
    return f"media/{name}" if name in OWN_COLUMNS else name


def made_of(file: RunFile, content: Path) -> Any:
    """Make the object of W&B's that shows a file.

    Args:
        file: what it is.
        content: the file.

    Raises:
        Exception: the file is not what its kind says.
    """
    from wandb.sdk.data_types._private import MEDIA_TMP

    # W&B makes it once, and systems remove from it what is old.
    Path(MEDIA_TMP.name).mkdir(mode=0o700, parents=True, exist_ok=True)
    return _MAKERS[file.kind](content)


def encoded(run: wandb.Run, column: str, made: Any) -> dict[str, Any]:
    """Put media among the run's files, and return what W&B keeps of them in history.

    This is what `run.log` does as well. Here it can be done while another thread logs rows.

    Args:
        run: the run.
        column: their column.
        made: what `made_of` has returned.
    """
    from wandb.sdk.data_types.utils import val_to_json

    value: dict[str, Any] = val_to_json(run, column, made, namespace=run.step)
    return value


def artifact_of(made: Any) -> wandb.Artifact | None:
    """The artifact that W&B's page shows media from; None where it shows them from the run's files.

    Args:
        made: what `made_of` has returned, and `encoded` was called with.
    """
    target = made._artifact_target
    artifact: wandb.Artifact | None = target and target.artifact
    return artifact


@dataclass(frozen=True)
class LoggedMedia:
    """Media in a row of history that was read from a file."""

    column: str
    value: Mapping[str, Any]


def media_of_row(cells: Mapping[str, Any]) -> LoggedMedia | None:
    """The media of a row; None where it is one of numbers.

    Args:
        cells: values by column. What is in media has the name of their column and a dot before it.
    """
    column = next((name.removesuffix(_TYPE) for name in cells if name.endswith(_TYPE) and _is_text(cells[name])), None)
    if column is None:
        return None
    inside = f"{column}."
    value = {name.removeprefix(inside): _whole(value) for name, value in cells.items() if name.startswith(inside)}
    return LoggedMedia(column, value)


def _is_text(value: Any) -> bool:
    try:
        # Numbers that JSON cannot hold are text, too.
        float(value)
    except ValueError:
        return True
    return False


def _whole(value: Any) -> Any:
    """Sizes are whole numbers; they were read as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _image(content: Path) -> Any:
    import wandb

    return wandb.Image(str(content))


def _figure(content: Path) -> Any:
    if content.suffix != ".json":
        return _image(content)
    import wandb
    from plotly.io import read_json

    return wandb.Plotly(read_json(str(content)))


def _table(content: Path) -> Any:
    import wandb

    given = json.loads(content.read_text(encoding="utf-8"))
    return wandb.Table(columns=given["columns"], data=given["data"], allow_mixed_types=True)


def _text(content: Path) -> Any:
    import wandb

    # A page for each step, which costs no artifact, as a table would.
    page = _PAGE.format(html.escape(content.read_text(encoding="utf-8")))
    return wandb.Html(page, inject=False, data_is_not_path=True)


def _audio(content: Path) -> Any:
    import wandb

    return wandb.Audio(str(content))


_MAKERS: Final[Mapping[FileKind, Callable[[Path], Any]]] = {
    FileKind.IMAGE: _image,
    FileKind.FIGURE: _figure,
    FileKind.TABLE: _table,
    FileKind.TEXT: _text,
    FileKind.AUDIO: _audio,
}
