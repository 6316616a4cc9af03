"""A training that starts others, which join its relay: it says address, token and id, and waits."""

import sys

import tracelet_otel as tracelet

run = tracelet.start_logging("parent", config={"export_interval": 0.1})
address = run._role.connection.address
print(address.endpoint, address.token, run.id, sep="\n", flush=True)
sys.stdin.read()
run.stop()
