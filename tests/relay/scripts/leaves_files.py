"""A run that logs files and then waits, or ends: `leaves_files.py ADDRESS waits|ends`."""

import sys
from pathlib import Path

import tracelet_otel as tracelet

address, mode = sys.argv[1:]
config = {"export_interval": 0.1, "stop_timeout": 0.5 if mode == "ends" else 60}
# A project of its own: that of the server's database has its artifacts in a folder.
run = tracelet.start_logging("files", project="files", backend_url=address, config=config)
for number in range(5):
    run.log_text(f"texts/{number}", f"text {number}")
Path("data").mkdir()
Path("data", "a.bin").write_bytes(b"a" * 100_000)
Path("data", "b.bin").write_bytes(b"b")
run.log_artifact("data")
run.log_metric("loss", 1.0, 1)
print("ready", flush=True)
if mode == "ends":
    run.stop()
else:
    sys.stdin.read()
