"""Files that a user records of the run: artifacts, and pictures, tables, texts and sounds with the step they are of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from time import time_ns
from typing import Any, Final

from tracelet_otel._support.text import encodable
from tracelet_otel.instrumentation import media
from tracelet_otel.instrumentation.spool import SpoolWriter, copied, size_of
from tracelet_otel.protocol.file_names import path_of, safe_name
from tracelet_otel.protocol.files import OWN_FILES, FileKind, RunFile, check_room

_LONGEST_COPY: Final = 64 * 2**20
"""In bytes. A larger file of a user's is linked and not copied, where the file system allows that."""
_LARGEST_MEDIA: Final = 64 * 2**20
"""In bytes. What is shown on a tracker's page may not be larger; `log_artifact` takes any size."""


class Files:
    """Puts files of a user's into the spool. Each method returns when the file may be changed or removed.

    Args:
        spool: where they go.

    Raises from each method:
        Exception: it cannot be recorded; what the library raises that the object is of.
    """

    def __init__(self, spool: SpoolWriter) -> None:
        self._spool = spool
        self._theirs: set[str] = set()
        """Names that belong to files of the run's own, and that the user has used."""

    def add_file(self, path: str | Path, name: str | None) -> None:
        """Record a file or a directory as it is.

        Args:
            path: the file or directory.
            name: its name in the run, with `/` between directories; None for its own.

        Raises:
            FileNotFoundError: it is not there.
        """
        source = Path(path).expanduser().absolute()
        size = size_of(source)
        if size is None:
            raise FileNotFoundError(f"there is no file and no directory {source}")
        shown = safe_name(encodable(name or source.name))
        self._note(shown)
        file = RunFile(shown, FileKind.FILE, time_ns(), PurePosixPath(shown).name, size)
        self._spool.put(file, copied(source, _LONGEST_COPY))

    def add_image(self, name: str, image: Any, step: int | None) -> None:
        """Record an image, as `media.write_image` takes it."""
        suffix = media.image_suffix(image)
        self._add(FileKind.IMAGE, name, suffix, step, lambda target: media.write_image(image, target))

    def add_figure(self, name: str, figure: Any, step: int | None) -> None:
        """Record a figure of matplotlib or plotly."""
        suffix = media.figure_suffix(figure)
        self._add(FileKind.FIGURE, name, suffix, step, lambda target: media.write_figure(figure, target))

    def add_table(self, name: str, columns: Sequence[str] | None, data: Any, step: int | None) -> None:
        """Record a table, as `media.write_table` takes it."""
        self._add(FileKind.TABLE, name, ".json", step, lambda target: media.write_table(columns, data, target))

    def add_text(self, name: str, text: str, step: int | None) -> None:
        """Record a text."""
        if not isinstance(text, str):
            raise TypeError(f"it is no text, but {type(text).__name__}")

        def write(target: Path) -> None:
            target.write_text(encodable(text), encoding="utf-8", newline="")

        self._add(FileKind.TEXT, name, PurePosixPath(name).suffix or ".txt", step, write)

    def add_audio(self, name: str, audio: Any, sample_rate: int | None, step: int | None) -> None:
        """Record a sound, as `media.write_audio` takes it."""
        suffix = media.audio_suffix(audio)
        self._add(FileKind.AUDIO, name, suffix, step, lambda target: media.write_audio(audio, sample_rate, target))

    def add_own(self, name: str, text: str) -> None:
        """Record a text that the run itself has found out, unless the user has recorded a file of that name.

        Args:
            name: one of `OWN_FILES`.
            text: its content.
        """
        content = encodable(text).encode()

        def make(target: Path) -> None:
            check_room(target.parent, len(content))
            target.write_bytes(content)

        if name not in self._theirs:
            self._spool.put(RunFile(name, FileKind.FILE, time_ns(), name, len(content), is_own=True), make)

    def _note(self, path: str) -> None:
        if path in OWN_FILES:
            self._theirs.add(path)

    def _add(self, kind: FileKind, name: str, suffix: str, step: int | None, write: Callable[[Path], None]) -> None:
        shown = safe_name(encodable(str(name)))
        whole = None if step is None else int(step)

        def make(target: Path) -> None:
            check_room(target.parent, 0)
            write(target)
            size = target.stat().st_size
            if size > _LARGEST_MEDIA:
                raise ValueError(f"it has {size} bytes, and the most is {_LARGEST_MEDIA}: record it with log_artifact")

        path = path_of(shown, suffix, whole)
        self._note(path)
        content = PurePosixPath(path).name
        self._spool.put(RunFile(shown, kind, time_ns(), content, step=whole), make)
