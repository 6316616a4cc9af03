"""Describes an experiment tracker as a `TrackerSpec`, which the tracker's package registers as an entry point."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from tracelet_otel import semconv
from tracelet_otel._support.findings import Finding as Finding  # noqa: PLC0414  # for who writes a probe
from tracelet_otel._support.findings import Level as Level  # noqa: PLC0414
from tracelet_otel._support.redact import without_credentials
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.settings import problems

PROBE_S = 5.0
"""Seconds that a probe waits for an answer."""
ENTRY_POINTS = "tracelet_otel.trackers"
"""Name of the entry point group. Each entry has the name of a tracker and refers to its `TrackerSpec`."""
_Own = TypeVar("_Own", bound="TrackerOptions")


class TrackerOptions(BaseModel):
    """Settings of one tracker. Each tracker declares a subclass, with one field for each setting.

    Names of fields begin with the tracker's name, since a journal stores the options of all trackers in one mapping. A
    field with an alias is read from the environment variable of that name, usually one that the tracker's client has.

    Example:
        >>> class CsvOptions(TrackerOptions):
        ...     address_field = "csv_directory"
        ...     csv_directory: str | None = Field(default=None, alias="CSV_DIRECTORY")
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    address_field: ClassVar[str | None] = None
    """Name of the field with the address of the store. The setting `backend_url` takes precedence over its value."""
    store_fields: ClassVar[tuple[str, ...]] = ()
    """Names of the other fields that identify a store: runs that differ in one of them go to different stores."""
    run_field: ClassVar[str | None] = None
    """Name of the field with the id of a run to continue."""

    @classmethod
    def read(cls: type[_Own], environment: Mapping[str, str]) -> _Own:
        """Read the options from environment variables; an empty variable counts as not set.

        Raises:
            ConfigurationError: a value is malformed.
        """
        aliases = [one.alias for one in cls.model_fields.values() if one.alias is not None]
        given = {variable: environment[variable] for variable in aliases if environment.get(variable)}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ConfigurationError(f"invalid settings: {problems(error)}") from None

    def resolved(self: _Own) -> _Own:
        """Return a copy whose addresses and folders mean the same in any process and working directory."""
        return self

    def check(self) -> None:
        """Check the options as far as possible without the tracker's client, for instance the form of the address.

        Raises:
            ConfigurationError: an option is invalid.
        """

    @property
    def client_modules(self) -> tuple[str, ...]:
        """Names of the client's modules that take long to import. A relay imports them before it has its order."""
        return ()

    def without_secrets(self: _Own) -> _Own:
        """Return a copy without secrets and without credentials in the address, so that it may be stored on disk."""
        bare = self.model_copy(update=dict.fromkeys(self.secrets))
        address = bare.address
        return bare if address is None else bare._with(self.address_field, without_credentials(address))

    @property
    def secrets(self) -> dict[str, SecretStr]:
        """Fields that hold a `SecretStr`, which is never stored on disk."""
        found = {name: getattr(self, name) for name in self.__class__.model_fields}
        return {name: value for name, value in found.items() if isinstance(value, SecretStr)}

    @property
    def plain(self) -> dict[str, Any]:
        """All fields as JSON can hold them, secrets included: for another process of ours."""
        secrets = {name: value.get_secret_value() for name, value in self.secrets.items()}
        return {**self.model_dump(mode="json"), **secrets}

    @property
    def address(self) -> str | None:
        """Address of the store; None where the tracker's client chooses it."""
        return None if self.address_field is None else getattr(self, self.address_field)

    @property
    def run_to_continue(self) -> str | None:
        """Id of the run to continue; None if there is none, or if it is not one that every tracker accepts."""
        named = getattr(self, self.run_field) if self.run_field else None
        return named if named and re.fullmatch(semconv.RUN_ID_PATTERN, named) else None

    def at(self: _Own, address: str | None) -> _Own:
        """Return a copy with another address; None leaves the address as it is.

        Raises:
            ConfigurationError: the tracker has no address.
        """
        if address is None:
            return self
        if self.address_field is None:
            raise ConfigurationError(f"{type(self).__name__} has no address: leave out backend_url")
        return self._with(self.address_field, address)

    def of_any_run(self: _Own) -> _Own:
        """Return a copy without the id of a run to continue."""
        return self._with(self.run_field, None)

    @property
    def store(self) -> tuple[Any, ...]:
        """What identifies the store: its address without credentials, and the values of `store_fields`."""
        kept = self.without_secrets()
        return (kept.address, *(getattr(kept, name) for name in self.store_fields))

    def variable(self, name: str | None) -> str:
        """Name of the environment variable that sets a field; empty for no field."""
        return (self.__class__.model_fields[name].alias or name) if name else ""

    def _with(self: _Own, name: str | None, value: Any) -> _Own:
        return self if name is None else self.model_copy(update={name: value})


@dataclass(frozen=True)
class TrackerSpec:
    """Describes one experiment tracker: where its code is, and what its client needs.

    Example:
        >>> SPEC = TrackerSpec("csv", tracker="csv_tracker.client:CsvTracker", options=CsvOptions)
    """

    name: str
    """Name of the backend, as in `start_logging(backend=...)`."""
    tracker: str
    """Its `Tracker`, as `module:Class`. The module is imported when a run begins, so it may import the client.

    The class is called with the run's `Settings` and with the tracker's options.
    """
    options: type[TrackerOptions] = TrackerOptions
    package: str | None = None
    """Import name of its client's package; None where it needs no package."""
    install: str = ""
    """The argument of `pip install` that installs that package; empty where it is the import name."""
    credentials: str | None = None
    """Environment variables with which its client logs in; None where it takes `api_key` or no credentials."""
    needs_relay: bool = False
    """Whether its client must not run in the training's process, because of what it does to the process it is in."""
    assigns_run_ids: bool = False
    """Whether it chooses the ids of its runs, so that a relay that was joined cannot find the run of `run_field`."""
    takes_traces: bool = False
    """Whether it takes spans, as a tracker that is a `TakesTraces`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that are set in processes that deliver to trackers, where they are not set already."""
    probe: str = ""
    """For `tracelet-otel doctor`: the function that looks whether runs can be written, as `module:function`.

    It is called with the run's `Settings` and with the tracker's options, and returns or yields `Finding`s. It begins
    no run, leaves nothing behind, and waits for no answer longer than `PROBE_S`. Without one nobody looks.
    """
    not_inherited: tuple[str, ...] = ()
    """Environment variables of the training's process that a process that delivers must not inherit."""
