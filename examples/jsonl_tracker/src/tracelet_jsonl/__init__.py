"""Runs as files of JSON lines."""

from pathlib import Path

from pydantic import Field

from tracelet_otel.exporters.spec import TrackerOptions, TrackerSpec


class JsonlOptions(TrackerOptions):
    """Where the files are: `start_logging(backend_url=...)`, or a variable."""

    address_field = "jsonl_directory"

    jsonl_directory: str | None = Field(default=None, alias="JSONL_DIRECTORY")

    def resolved(self) -> "JsonlOptions":
        """The relay has another working directory, so the path has to be absolute."""
        return self.at(str(Path(self.jsonl_directory or "jsonl-runs").expanduser().absolute()))


SPEC = TrackerSpec("jsonl", tracker="tracelet_jsonl.tracker:JsonlTracker", options=JsonlOptions)
