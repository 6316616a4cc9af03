"""What an experiment tracker's package says of itself: a `TrackerSpec`, found by an entry point."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tracelet_otel import semconv
from tracelet_otel._support.redact import without_credentials
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.settings import problems

ENTRY_POINTS = "tracelet_otel.trackers"
"""The entry point group. Each entry has the tracker's name and leads to a `TrackerSpec`."""
_Own = TypeVar("_Own", bound="TrackerOptions")


class TrackerOptions(BaseModel):
    """Settings that only one tracker knows. A subclass has a field for each.

    Fields begin with the tracker's name, since the options of all trackers are kept side by side in a journal. A field
    with an alias is read from the environment variable of that name, which is usually one of the tracker's own client.

    Example:
        >>> class CsvOptions(TrackerOptions):
        ...     address_field = "csv_directory"
        ...     csv_directory: str | None = Field(default=None, alias="CSV_DIRECTORY")
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    address_field: ClassVar[str | None] = None
    """The field with the address of the store, which `backend_url` takes precedence over."""
    store_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that tell stores apart, beside the address: runs that differ in one go to different stores."""
    run_field: ClassVar[str | None] = None
    """The field with the id of a run to continue."""

    @classmethod
    def read(cls: type[_Own], environment: Mapping[str, str]) -> _Own:
        """Options as environment variables have them; a variable that is empty counts as not set.

        Raises:
            ConfigurationError: a value is not of its form.
        """
        aliases = [one.alias for one in cls.model_fields.values() if one.alias is not None]
        given = {variable: environment[variable] for variable in aliases if environment.get(variable)}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ConfigurationError(f"invalid settings: {problems(error)}") from None

    def resolved(self: _Own) -> _Own:
        """The same with addresses and folders that mean the same in another process and working directory."""
        return self

    def check(self) -> None:
        """Check what shows without the client: that the address is one, for instance.

        Raises:
            ConfigurationError: it is not.
        """

    def without_secrets(self: _Own) -> _Own:
        """The same as it may be kept on a disk; credentials in the address are left out."""
        address = self.address
        return self if address is None else self._with(self.address_field, without_credentials(address))

    @property
    def address(self) -> str | None:
        """Address of the store; None where the tracker's client knows it."""
        return None if self.address_field is None else getattr(self, self.address_field)

    @property
    def run_to_continue(self) -> str | None:
        """Id of the run to continue, if it is one that every tracker could have."""
        named = getattr(self, self.run_field) if self.run_field else None
        return named if named and re.fullmatch(semconv.RUN_ID_PATTERN, named) else None

    def at(self: _Own, address: str | None) -> _Own:
        """The same for another address; None leaves it as it is."""
        if address is None:
            return self
        if self.address_field is None:
            raise ConfigurationError(f"{type(self).__name__} has no address: leave out backend_url")
        return self._with(self.address_field, address)

    def of_any_run(self: _Own) -> _Own:
        """The same without what names a run to continue."""
        return self._with(self.run_field, None)

    @property
    def store(self) -> tuple[Any, ...]:
        """What tells stores apart. Credentials do not."""
        kept = self.without_secrets()
        return (kept.address, *(getattr(kept, name) for name in self.store_fields))

    def variable(self, name: str | None) -> str:
        """The environment variable of a field."""
        return (self.__class__.model_fields[name].alias or name) if name else ""

    def _with(self: _Own, name: str | None, value: Any) -> _Own:
        return self if name is None else self.model_copy(update={name: value})


@dataclass(frozen=True)
class TrackerSpec:
    """One experiment tracker.

    Example:
        >>> SPEC = TrackerSpec("csv", tracker="csv_tracker.client:CsvTracker", options=CsvOptions)
    """

    name: str
    """As in `start_logging(backend=...)`."""
    tracker: str
    """Where its `Tracker` is, as `module:Class`. The module is imported when a run begins; it may import the client.

    The class is called with the run's `Settings` and with the tracker's options.
    """
    options: type[TrackerOptions] = TrackerOptions
    package: str | None = None
    """Import name of the package of its client; None where it needs none."""
    install: str = ""
    """What `pip install` has to be given for that package."""
    credentials: str | None = None
    """The variables with which its client logs in; None where it takes `api_key` or nothing."""
    needs_relay: bool = False
    """Whether its client may live in no process but a relay's, for what it does to its process."""
    assigns_run_ids: bool = False
    """Whether it chooses the ids of its runs: a relay that was joined could not find the one of `run_field`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Defaults of environment variables for processes that deliver."""
    not_inherited: tuple[str, ...] = ()
    """Environment variables of the training that such a process must not get."""
