"""The errors that this package raises; every message of `start_logging` says what to do about it."""

from __future__ import annotations


class TraceletError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigurationError(TraceletError, ValueError):
    """A setting is unknown, malformed or contradicts another one."""


class MissingDependencyError(TraceletError, ImportError):
    """The client library of a requested backend is not installed."""


class IncompatibleVersionError(TraceletError, ImportError):
    """An installed library lacks a private name that this package hooks or reads."""


class TrackerError(TraceletError):
    """A tracker did not do what it was asked to do."""


class TrackerUnavailableError(TrackerError):
    """The tracker cannot be reached at the moment: the same call may succeed later."""


class RefusedError(TrackerError):
    """The tracker will never accept this batch; parts of it may be acceptable."""


class RunLostError(TrackerError):
    """The run can no longer be written to: nothing sent to it will be accepted."""
