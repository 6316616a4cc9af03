"""Tests that every tracker which takes files has to pass: artifacts, media, and checkpoints."""

from __future__ import annotations

import json
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tracelet_otel import semconv
from tracelet_otel.exporters.files import FileWriter
from tracelet_otel.protocol.console import ConsoleLine, end_console, file_name, join, put_lines
from tracelet_otel.protocol.files import Checkpoint, FileKind, RunFile, entry_names, read_entry
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.testing.backend import ContractBackend
from tracelet_otel.testing.file_samples import (
    MEDIA,
    TIME_NS,
    StoredCheckpoint,
    checkpoint_of,
    file_of,
    stored_checkpoint,
    written,
)

_PATHS = ("plain.txt", "a/b/c.csv", "blank and=, signs.json", "größe/損失.bin", "x" * 100 + ".txt", ".hidden", "none")


@dataclass
class StoredFiles:
    """The files of a run as they were read from a tracker's store."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Content by path in the run."""
    media: dict[tuple[str, str, int | None], Any] = field(default_factory=dict)
    """By kind, name and step: an image and a figure as `pixels` returns them, a table as `columns` and `data`, a text,
    and the bytes of a sound."""
    checkpoints: dict[str, StoredCheckpoint] = field(default_factory=dict)
    """By name."""
    console: dict[int, list[str]] = field(default_factory=dict)
    """Lines that are shown as printed, by rank. Files of the console are not among `files`."""


class KeepsFiles(ABC):
    """A `ContractBackend` whose tracker takes files is one of these, too."""

    keeps_removed = False
    """Whether the store keeps the file of a checkpoint that the training has removed; its users are told so."""

    @abstractmethod
    def stored_files(self, run_id: str) -> StoredFiles:
        """Read the files of a run from the tracker's store, without the tracker's own code."""

    def shown_name(self, name: str) -> str:
        """Under which name the tracker shows media."""
        return name

    def shown_aliases(self, words: set[str]) -> set[str]:
        """Which of `best`, `latest` and `top-k` the tracker shows of a checkpoint that is all of `words`."""
        return words

    def shown_step(self, step: int | None) -> int | None:
        """At which step the tracker shows media."""
        return step


class FileContract:
    """The tests. Subclass it in a test module, with a fixture `backend` that returns one that `KeepsFiles`."""

    @pytest.fixture
    def identity(self) -> RunIdentity:
        """A run that is not in any store yet."""
        run_id, project = uuid.uuid4().hex, "name of the project"
        attributes = {semconv.RUN_ID: run_id, semconv.PROJECT_NAME: project}
        return RunIdentity(run_id, "name of the run", project, attributes)

    @staticmethod
    def write(backend: Any, identity: RunIdentity, *files: tuple[RunFile, Path | None], times: int = 1) -> StoredFiles:
        """Write files as a relay does it, and read them from the store.

        Args:
            backend: the tracker.
            identity: identity of the run.
            files: the files, each with its content.
            times: how many relays write them, each from the beginning, because the one before it was killed.
        """
        for _ in range(times):
            tracker = backend.tracker()
            tracker.open(identity)
            writer: FileWriter = tracker.file_writer()
            writer.open(identity)
            for file, content in files:
                writer.write(file, content)
            tracker.close(semconv.OUTCOME_FINISHED)
        stored: StoredFiles = backend.stored_files(identity.run_id)
        return stored

    def test_files_are_found_under_their_paths(
        self, backend: ContractBackend, identity: RunIdentity, tmp_path: Path
    ) -> None:
        """Names may have blanks, signs and letters of any language; a directory has all of its files."""
        files = [file_of(tmp_path, path, path.encode() * 10) for path in _PATHS]
        folder = tmp_path / "entry" / "folder"
        for name in ("one.txt", "deep/er/two=2.txt", "größe.txt"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(name.encode())
        files.append((RunFile("data/folder", FileKind.FILE, TIME_NS, "folder"), folder))
        expected = {path: path.encode() * 10 for path in _PATHS}
        expected |= {f"data/folder/{name}": name.encode() for name in ("one.txt", "deep/er/two=2.txt", "größe.txt")}
        assert self.write(backend, identity, *files, times=2).files == expected

    def test_media_of_every_kind(self, backend: Any, identity: RunIdentity, tmp_path: Path) -> None:
        """Each is of the tracker's own type, under its name and at its step."""
        given = {}
        files = []
        for step in (3, 12):
            for kind, suffix, make in MEDIA:
                content = tmp_path / str(step) / kind.value / f"{step:08d}{suffix}"
                content.parent.mkdir(parents=True)
                given[kind.value, backend.shown_name(f"val/my {kind.value}"), step] = make(content, step)
                files.append((RunFile(f"val/my {kind.value}", kind, TIME_NS + step, content.name, step=step), content))
        assert self.write(backend, identity, *files).media == given

    def test_media_without_a_step(self, backend: Any, identity: RunIdentity, tmp_path: Path) -> None:
        """They are there as well; a tracker may show them at a step of its own."""
        given = {}
        files = []
        for kind, suffix, make in MEDIA:
            content = tmp_path / kind.value / f"my {kind.value}{suffix}"
            content.parent.mkdir()
            given[kind.value, backend.shown_name(f"val/my {kind.value}"), backend.shown_step(None)] = make(content, 5)
            files.append((RunFile(f"val/my {kind.value}", kind, TIME_NS, content.name), content))
        assert self.write(backend, identity, *files).media == given

    def test_a_figure_of_plotly(self, backend: Any, identity: RunIdentity, tmp_path: Path) -> None:
        """It stays a figure of plotly, where the tracker shows such, or is a page with it."""
        content = tmp_path / "00000004.json"
        content.write_text(json.dumps({"data": [{"type": "scatter", "y": [1, 2, 4]}], "layout": {}}))
        file = RunFile("val/curve", FileKind.FIGURE, TIME_NS, content.name, step=4)
        stored = self.write(backend, identity, (file, content))
        (found,) = stored.media.values()
        assert found == [1, 2, 4]
        assert list(stored.media) == [("figure", backend.shown_name("val/curve"), 4)]

    def test_what_is_known_of_checkpoints(self, backend: Any, identity: RunIdentity) -> None:
        """The store knows where they are, and how good. The best and the last one is one at a time."""
        saved = [
            checkpoint_of(0, 0.5, best=True),
            checkpoint_of(1, 0.25, best=True),
            checkpoint_of(2, 0.75, best=False),
        ]
        stored = self.write(backend, identity, *((file, None) for file in saved), times=2).checkpoints
        shown = backend.shown_aliases
        assert stored == {
            "epoch=0.ckpt": stored_checkpoint(0, 0.5, shown({"top-k"})),
            "epoch=1.ckpt": stored_checkpoint(1, 0.25, shown({"best", "top-k"})),
            "epoch=2.ckpt": stored_checkpoint(2, 0.75, shown({"latest", "top-k"})),
        }

    def test_checkpoints_that_are_uploaded_and_removed(
        self, backend: Any, identity: RunIdentity, tmp_path: Path
    ) -> None:
        """The store has the bytes, of files and directories, as long as the training has them."""
        files: list[tuple[RunFile, Path | None]] = []
        for number in range(3):
            made = checkpoint_of(number, 1 - number / 4, best=True, content=f"epoch={number}.ckpt")
            files.append((made, written(tmp_path / f"{number}" / f"epoch={number}.ckpt", b"%d" % number * 1000)))
        sharded = checkpoint_of(3, 0.0, best=True, content="epoch=3.ckpt")
        for name in (".metadata", "__0_0.distcp"):
            written(tmp_path / "3" / "epoch=3.ckpt" / name, name.encode())
        files.append((sharded, tmp_path / "3" / "epoch=3.ckpt"))
        for number in (0, 1):
            gone = files[number][0]
            assert gone.checkpoint is not None
            removed = replace(gone.checkpoint, is_removed=True, is_best=False, is_last=False, is_top_k=False)
            files.append((replace(gone, content=None, checkpoint=removed), None))
        found = self.write(backend, identity, *files, times=2).checkpoints
        expected = {
            "epoch=2.ckpt": b"2" * 1000,
            "epoch=3.ckpt": {".metadata": b".metadata", "__0_0.distcp": b"__0_0.distcp"},
        }
        assert {name: one.content for name, one in found.items() if name in expected} == expected
        assert backend.keeps_removed or expected.keys() == found.keys()

    def test_checkpoints_whose_names_differ_behind_a_dot_only(
        self, backend: Any, identity: RunIdentity, tmp_path: Path
    ) -> None:
        """Each has a file of its own, which stays where the training removes another one."""
        files: list[tuple[RunFile, Path | None]] = []
        for name in ("loss=0.25", "loss=0.5", "loss=0.5.ckpt"):
            made = checkpoint_of(1, 0.5, best=False)
            assert made.checkpoint is not None
            made = replace(made, name=name, content=name, checkpoint=replace(made.checkpoint, path=f"/scratch/{name}"))
            files.append((made, written(tmp_path / name, name.encode())))
        gone = files[0][0]
        files.append((replace(gone, content=None, checkpoint=Checkpoint("/scratch/loss=0.25", is_removed=True)), None))
        found = self.write(backend, identity, *files, times=2).checkpoints
        contents = {one.path: one.content for one in found.values()}
        expected = {f"/scratch/{name}": name.encode() for name in ("loss=0.5", "loss=0.5.ckpt")}
        assert {path: contents.get(path) for path in expected} == expected
        assert backend.keeps_removed or contents.keys() == expected.keys()

    def test_what_ranks_have_printed(self, backend: Any, identity: RunIdentity, tmp_path: Path) -> None:
        """Each line is there once and in its order, also where a relay writes again what it has written already."""
        spool = tmp_path / "run.files"
        spool.mkdir()
        for number in range(3):
            for rank in (0, 1):
                lines = [
                    ConsoleLine(
                        TIME_NS + 2_000_000_000 * number + one, f"größe {number} {one}", "stdout", 9 * (one % 2)
                    )
                    for one in range(3)
                ]
                put_lines(spool, file_name(rank), lines, lines[0].time_unix_nano)
        for name in entry_names(spool):
            join(read_entry(spool / name))
        end_console(spool, has_failed=False)
        entries = [read_entry(spool / name) for name in entry_names(spool)]
        stored = self.write(backend, identity, *((one.file, one.content) for one in entries), times=2)
        assert stored.console == {rank: [f"größe {n} {one}" for n in range(3) for one in range(3)] for rank in (0, 1)}
        assert stored.files == {}

    def test_a_file_that_is_gone_is_said_to_be(
        self, backend: ContractBackend, identity: RunIdentity, tmp_path: Path
    ) -> None:
        """It is told apart from a tracker that does not answer, which is asked again."""
        file, content = file_of(tmp_path, "gone.txt", b"")
        assert content is not None
        content.unlink()
        with pytest.raises(FileNotFoundError):
            self.write(backend, identity, (file, content))

    def test_a_directory_of_which_a_part_is_gone_is_said_to_be(
        self, backend: ContractBackend, identity: RunIdentity, tmp_path: Path
    ) -> None:
        """What is there of it is not taken for all. Links to another file system outlive what they lead to."""
        folder = tmp_path / "sharded.ckpt"
        written(folder / "__0_0.distcp", b"0")
        (folder / "__1_0.distcp").symlink_to(tmp_path / "gone")
        facts = Checkpoint("/scratch/sharded.ckpt")
        file = RunFile(folder.name, FileKind.CHECKPOINT, TIME_NS, folder.name, 2, 10, facts)
        with pytest.raises(FileNotFoundError):
            self.write(backend, identity, (file, folder))
