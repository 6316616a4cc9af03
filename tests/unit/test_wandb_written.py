from __future__ import annotations

import struct
import threading
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracelet_otel.exporters.wandb.written import wait_for_artifact, wait_for_file, wait_for_row

# The messages are those of W&B's client.
pytestmark = pytest.mark.whole
_BLOCK = 32 * 1024


def record(number, row, size):
    """A row, or a summary, as wandb-core stores it."""
    from wandb.proto import wandb_internal_pb2

    made = wandb_internal_pb2.Record(num=number)
    item = (made.summary.update if row is None else made.history.item).add()
    item.key, item.value_json = "loss", "1" * size
    if row is not None:
        made.history.step.num = row
    return made.SerializeToString()


def log(records):
    """A LevelDB log, written as its documentation says."""
    data = bytearray(b"0123456")
    for content in records:
        rest, is_first = content, True
        while rest or is_first:
            left = _BLOCK - len(data) % _BLOCK
            if left < 7:
                data += bytes(left)
                continue
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = (2 if rest else 1) if is_first else (3 if rest else 4)
            data += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            is_first = False
    return bytes(data)


def last_row(path, most):
    """The number of the last row that is found."""
    return max((number for number in range(most) if wait_for_row(path, number, 0)), default=None)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([1, 100, 9_000, 32_741, 70_000, 300_000])), max_size=12),
    st.data(),
)
def test_the_last_whole_row_of_a_file_is_found(tmp_path_factory, sizes, data):
    path = tmp_path_factory.mktemp("file") / "run.wandb"
    records, rows = [], []
    for is_row, size in sizes:
        rows += [len(rows)] if is_row else []
        records.append(record(len(records), rows[-1] if is_row else None, size))
    ends = [len(log(records[: count + 1])) for count in range(len(records))]
    whole = log(records)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    seen = sum(is_row for (is_row, _), end in zip(sizes, ends, strict=True) if end <= cut)
    assert last_row(path, 13) == (seen - 1 if seen else None)


def test_a_row_that_is_not_as_it_was_written_is_not_there(tmp_path):
    path = tmp_path / "run.wandb"
    whole = log([record(1, 0, 10), record(2, 1, 10)])
    path.write_bytes(whole[:-1] + b"?")
    assert last_row(path, 3) == 0


def test_a_row_is_waited_for(tmp_path):
    path = tmp_path / "run.wandb"
    writer = threading.Timer(0.1, lambda: path.write_bytes(log([record(1, 0, 10)])))
    writer.start()
    assert wait_for_row(path, 0, 30)
    writer.join()


@pytest.mark.parametrize("content", [None, b"", b"012", b"0123456", b"0123456" + bytes(100)])
def test_no_row_is_found_where_there_is_none(tmp_path, content):
    path = tmp_path / "run.wandb"
    if content is not None:
        path.write_bytes(content)
    assert not wait_for_row(path, 0, 0)


def saved(number, path):
    """That a file is to be uploaded, as wandb-core stores it."""
    from wandb.proto import wandb_internal_pb2

    made = wandb_internal_pb2.Record(num=number)
    made.files.files.add().path = path
    return made.SerializeToString()


def test_a_file_and_an_artifact_are_found_behind_the_last_row(tmp_path):
    from wandb.proto import wandb_internal_pb2

    artifact = wandb_internal_pb2.Record(num=3)
    artifact.artifact.digest = "digest"
    path = tmp_path / "run.wandb"
    records = [record(0, 0, 10), saved(1, "a.txt"), record(2, None, 70_000), artifact.SerializeToString()]
    for count in range(len(records) + 1):
        path.write_bytes(log(records[:count]))
        assert wait_for_file(path, "a.txt", 0) == (count > 1)
        assert wait_for_artifact(path, "digest", 0) == (count > 3)
        assert not wait_for_file(path, "b.txt", 0)
    # What is in front of a row is not what was just saved.
    path.write_bytes(log([*records, record(4, 1, 10)]))
    assert not wait_for_file(path, "a.txt", 0)
    assert not wait_for_artifact(path, "digest", 0)
