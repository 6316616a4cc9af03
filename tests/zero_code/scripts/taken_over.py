"""The same training twice, the second time with a run that the script starts."""

import train

import tracelet_otel as tracelet

train.main()
with tracelet.start_logging("second", config={"export_interval": 0.2}):
    train.main()
