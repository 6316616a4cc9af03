"""The same training, recorded by `start_logging`."""

import train

import tracelet_otel as tracelet

if __name__ == "__main__":
    with tracelet.start_logging(config={"export_interval": 0.2}):
        train.main()
