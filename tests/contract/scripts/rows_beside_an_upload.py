"""Logs rows while a checkpoint is uploaded: `rows_beside_an_upload.py SERVER KEY DIRECTORY`.

It says when the rows are logged, and waits for a line before it waits for the checkpoint.
"""

import sys
import threading
from pathlib import Path

from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.exporters import registry
from tracelet_otel.protocol.files import Checkpoint, FileKind, RunFile
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.settings import load
from tracelet_otel.testing import reading

server, key, directory = sys.argv[1:]
content = Path(directory, "last.ckpt")
content.write_bytes(b"weights")
file = RunFile("last.ckpt", FileKind.CHECKPOINT, 1, content.name, 7, 3, Checkpoint("/scratch/last.ckpt"))
settings = registry.absolute(load({"backend": "wandb"}, {"backend_url": server, "api_key": key}))
tracker = registry.tracker("wandb", settings)
writer = tracker.file_writer()
try:
    writer.open(None)
except TrackerUnavailableError as error:
    print(error)
tracker.open(RunIdentity("beside", "name", "project", {}))
writer.open(None)
input()
uploading = threading.Thread(target=writer.write, args=(file, content))
uploading.start()
for step in range(5):
    tracker.log_readings([reading("loss", 1.0, step)])
print("rows are logged", uploading.is_alive(), flush=True)
input()
uploading.join()
tracker.close("finished")
try:
    writer.write(file, content)
except TrackerUnavailableError as error:
    print(error)
