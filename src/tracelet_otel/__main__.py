"""`python -m tracelet_otel` is the command `tracelet-otel`."""

from tracelet_otel.cli import main

if __name__ == "__main__":
    main(prog_name="python -m tracelet_otel")
