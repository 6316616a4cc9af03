"""Starts processes that print the id of their run, one for each environment: `agent.py OWN [ENVIRONMENT ...]`.

OWN is how often this process prints its own before; an environment is JSON.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tracelet_otel.resource.detector import TraceletResourceDetector

for _ in range(int(sys.argv[1])):
    print(TraceletResourceDetector().detect().attributes["tracelet.run.id"], flush=True)
for more in map(json.loads, sys.argv[2:]):
    script = str(Path(__file__).with_name("run_id.py"))
    subprocess.run([sys.executable, script], env={**os.environ, **more}, check=True)
