"""The relay: takes the stream of a run as OTLP, keeps it on disk, merges its ranks, and delivers it to trackers."""
