"""Runs the contract of tracelet-otel, which every tracker has to pass, on this tracker."""

import json
import os
from collections import Counter

import pytest

from tracelet_otel.testing import ContractBackend, Stored, TrackerContract, point, reading


class Jsonl(ContractBackend):
    name = "jsonl"
    statuses = {
        "finished": "finished",
        "failed": "failed",
        "interrupted": "interrupted",
        "terminated": "terminated",
        None: "killed",
    }

    def __init__(self, directory):
        self.directory = directory

    def settings(self):
        return {"backend_url": str(self.directory)}

    def stored(self, run_id):
        lines = [json.loads(line) for line in (self.directory / f"{run_id}.jsonl").read_text().splitlines()]
        run = next(line for line in lines if "run" in line)
        tags = {line["tag"]: line["value"] for line in lines if "tag" in line}
        return Stored(
            name=run["run"],
            project=run["project"],
            status=[line["outcome"] for line in lines if "outcome" in line][-1],
            params={line["param"]: line["value"] for line in lines if "param" in line},
            facts=run["attributes"],
            points=Counter(
                point(line["metric"], line["step"], float(line["value"]), line["time_unix_nano"] // 1_000_000)
                for line in lines
                if "metric" in line
            ),
            note=tags.pop("tracelet.note", None),
            tags=tags,
        )


class TestJsonl(TrackerContract):
    @pytest.fixture
    def backend(self, tmp_path):
        return Jsonl(tmp_path)

    # The contract cannot make a store fail, or cut what it has written last. This is how it is done here.

    def test_what_a_failed_write_has_left_is_not_there(self, backend, identity, monkeypatch):
        def fail(_):
            raise OSError("the disk is ill")

        tracker = backend.tracker()
        tracker.open(identity)
        with monkeypatch.context() as ill:
            ill.setattr(os, "fsync", fail)
            with pytest.raises(OSError, match="ill"):
                tracker.log_readings([reading("loss", 1.0)])
        tracker.log_readings([reading("loss", 1.0)])
        tracker.close("finished")
        assert backend.stored(identity.run_id).points == Counter(backend.kept([reading("loss", 1.0)]))

    def test_a_line_that_a_kill_has_cut_is_written_again(self, backend, identity):
        tracker = backend.tracker()
        tracker.open(identity)
        tracker.log_readings([reading("loss", 1.0, 1), reading("loss", 2.0, 2)])
        path = backend.directory / f"{identity.run_id}.jsonl"
        path.write_bytes(path.read_bytes()[:-5])
        readings = [reading("loss", 1.0, 1), reading("loss", 2.0, 2), reading("loss", 3.0, 3)]
        assert self.record(backend, identity, readings).points == Counter(backend.kept(readings))
