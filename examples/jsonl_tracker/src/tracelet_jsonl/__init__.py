"""A tracker for tracelet-otel that writes each run to a file of JSON lines."""

from pathlib import Path

from pydantic import Field

from tracelet_otel.exporters.spec import TrackerOptions, TrackerSpec


class JsonlOptions(TrackerOptions):
    """The directory of the files, from `start_logging(backend_url=...)` or from an environment variable."""

    address_field = "jsonl_directory"

    jsonl_directory: str | None = Field(default=None, alias="JSONL_DIRECTORY")

    def resolved(self) -> "JsonlOptions":
        """Make the path absolute, since the relay has another working directory."""
        return self.at(str(Path(self.jsonl_directory or "jsonl-runs").expanduser().absolute()))


SPEC = TrackerSpec("jsonl", tracker="tracelet_jsonl.tracker:JsonlTracker", options=JsonlOptions)
