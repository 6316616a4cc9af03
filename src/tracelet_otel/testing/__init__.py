"""The contract of trackers: tests that every tracker has to pass, also those of other packages. Needs pytest.

Example:
    >>> from tracelet_otel.testing import ContractBackend, Stored, TrackerContract, point
    >>>
    >>> class CsvBackend(ContractBackend):
    ...     name = "csv"
    ...     statuses = {"finished": "finished", None: "unknown"}
    ...
    ...     def stored(self, run_id): ...  # reads the run's files and returns a `Stored`
    >>>
    >>> class TestCsv(TrackerContract):
    ...     @pytest.fixture
    ...     def backend(self, tmp_path, monkeypatch):
    ...         monkeypatch.chdir(tmp_path)
    ...         return CsvBackend()
"""

import pytest

# Before the import, so that pytest shows both sides of a comparison that fails.
pytest.register_assert_rewrite("tracelet_otel.testing.contract", "tracelet_otel.testing.file_contract")

from tracelet_otel.testing.backend import ContractBackend, Point, Stored, point, reading  # noqa: E402
from tracelet_otel.testing.contract import TrackerContract  # noqa: E402
from tracelet_otel.testing.file_contract import FileContract, KeepsFiles, StoredFiles  # noqa: E402
from tracelet_otel.testing.file_samples import StoredCheckpoint  # noqa: E402
from tracelet_otel.testing.queue import ListQueue  # noqa: E402

__all__ = [
    "ContractBackend",
    "FileContract",
    "KeepsFiles",
    "ListQueue",
    "Point",
    "Stored",
    "StoredCheckpoint",
    "StoredFiles",
    "TrackerContract",
    "point",
    "reading",
]
