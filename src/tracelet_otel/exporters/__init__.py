"""Where the stream of a run goes: trackers, which are a package each, and receivers of OTLP."""
