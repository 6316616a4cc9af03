"""Runs the contract of tracelet-otel, which every tracker has to pass, on this tracker."""

import json
from collections import Counter

import pytest

from tracelet_otel.testing import ContractBackend, Stored, TrackerContract, point


class Jsonl(ContractBackend):
    name = "jsonl"
    statuses = {
        "finished": "finished",
        "failed": "failed",
        "interrupted": "interrupted",
        "terminated": "terminated",
        "running": "running",
        None: "unknown",
    }

    def __init__(self, directory):
        self.directory = directory

    def settings(self):
        return {"backend_url": str(self.directory)}

    def stored(self, run_id):
        lines = [json.loads(line) for line in (self.directory / f"{run_id}.jsonl").read_text().splitlines()]
        run = next(line for line in lines if "run" in line)
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
        )


class TestJsonl(TrackerContract):
    @pytest.fixture
    def backend(self, tmp_path):
        return Jsonl(tmp_path)
