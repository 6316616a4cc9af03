"""Every setting, in one frozen object.

Each field is also read from `TRACELET_<FIELD>`; what the caller passes wins over the environment.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from platformdirs import user_state_path
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tracelet_otel import semconv
from tracelet_otel._support.environment import own_variables
from tracelet_otel.errors import ConfigurationError

RELAY_PLATFORMS: Final = ("linux", "darwin")
"""Where trackers can live in a process of their own: it takes sessions and signals of POSIX."""
DEFAULT_PROJECT: Final = "Default"
"""What a run belongs to where nobody says."""
OTLP: Final = "otlp"
"""The backend that is no tracker: any receiver of OpenTelemetry's own protocol."""
_LIMITS: Final = {
    "greater_than": "greater than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}
_KINDS: Final = {
    "float": "it has to be a number",
    "int": "it has to be a whole number",
    "finite_number": "it has to be a finite number",
    "bool": "it has to be true or false",
    "string": "it has to be text",
    "path": "it has to be a path",
}
"""What a value has to be, by the beginning of pydantic's name for what is wrong."""
_FORMS: Final = {
    "relay_bind": "it has to be a host and a port, as in 127.0.0.1:4318",
    "relay_endpoint": "it has to be an address of a host and a port, as in http://relay:4318",
}
_FORM_OF_IDS: Final = "it has to be 1 to 64 letters, digits, '_', '.' or '-'"
_NO_VARIABLE: Final = "no variable has a blank in its name"
_LONGEST_S: Final = 1e6
"""Of a time in seconds: locks and timestamps have their limits."""


class Settings(BaseSettings):
    """What a run is to do and where its metrics go."""

    model_config = SettingsConfigDict(
        env_prefix="TRACELET_", extra="forbid", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    exp_name: str | None = None
    """Name of the run; made from the script's name and the time where it is not given."""
    project: str = DEFAULT_PROJECT
    """Name of the project: MLflow's experiment."""
    backend: Annotated[tuple[str, ...], NoDecode] = ("mlflow",)
    """Names of the backends, in order, each once."""
    api_key: SecretStr | None = None
    """Credential of the backend, where it takes one."""
    backend_url: str | None = None
    """Address of the backend, over the backend's own environment variable."""
    run_id: str | None = Field(default=None, pattern=semconv.RUN_ID_PATTERN)
    """Id of the run to continue."""
    track_lightning: bool = True
    """Whether what Lightning logs is captured."""
    track_system: bool = True
    """Whether GPU and host are measured."""
    track_git: bool = True
    """Whether the state of the code is recorded."""
    metrics_interval: float = Field(default=10.0, gt=0, le=_LONGEST_S)
    """Seconds between two readings of GPU and host."""
    export_interval: float = Field(default=1.0, gt=0, le=_LONGEST_S)
    """Seconds between two exports of logged rows."""
    stop_timeout: float = Field(default=30.0, gt=0, le=_LONGEST_S)
    """Seconds that the end of a run waits for a backend that takes nothing."""
    start_timeout: float = Field(default=60.0, gt=0, le=_LONGEST_S)
    """Seconds that `start_logging` waits for the relay and its trackers."""
    relay: bool = Field(default_factory=lambda: sys.platform in RELAY_PLATFORMS)
    """Whether trackers live in a process of their own."""
    relay_bind: str = Field(default="127.0.0.1:0", pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^:\s]+):\d{1,5}$")
    """Host and port on which a relay listens; port 0 is any that is free."""
    relay_endpoint: str | None = Field(default=None, pattern=r"^https?://[^/@?#\s]+/?$")
    """Address of a relay that already runs, as in `http://relay:4319`."""
    relay_token: SecretStr | None = Field(default=None, min_length=16)
    """What that relay asks for."""
    relay_patience: float = Field(default=600.0, gt=0, le=_LONGEST_S)
    """Seconds for which the relay goes on after the run's end with a backend that takes nothing."""
    ranks: Literal["merged", "each"] = "merged"
    """Whether the values of all ranks become one, or each rank has its own series."""
    rank_timeout: float = Field(default=60.0, gt=0, le=_LONGEST_S)
    """Seconds that a value waits for ranks that have not logged it."""
    journal_dir: Path = Field(default_factory=lambda: user_state_path("tracelet-otel"))
    """Where the relay keeps what it has accepted and not delivered yet."""
    journal_limit: int = Field(default=4096, gt=0)
    """MiB that it keeps there for one run; where a tracker is away for longer, its oldest values are dropped."""
    otlp_endpoint: str | None = None
    """Address of the receiver, over `OTEL_EXPORTER_OTLP_ENDPOINT` and its like, which the exporter reads itself."""
    options: Mapping[str, Any] = Field(default_factory=dict, validation_alias=AliasChoices(_NO_VARIABLE))
    """Settings that only one tracker knows, of all that are used; `exporters.registry.absolute` fills them in."""

    @property
    def trackers(self) -> tuple[str, ...]:
        """The backends that are experiment trackers."""
        return tuple(name for name in self.backend if name != OTLP)

    @property
    def streams(self) -> bool:
        """Whether the stream itself goes to a receiver, from each rank."""
        return OTLP in self.backend

    @property
    def has_relay(self) -> bool:
        """Whether trackers live in a relay, of this run or of somebody else."""
        return self.relay or self.relay_endpoint is not None

    @field_validator("journal_dir", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @model_validator(mode="after")
    def _has_a_relay(self) -> Settings:
        if self.relay and sys.platform not in RELAY_PLATFORMS:
            raise ValueError(f"there is no relay on {sys.platform}: leave out relay=True, or join one (relay_endpoint)")
        return self

    @model_validator(mode="after")
    def _joins_with_a_token(self) -> Settings:
        if self.relay_endpoint and self.relay_token is None:
            raise ValueError("relay_endpoint needs relay_token: give the relay's token as TRACELET_RELAY_TOKEN")
        if self.relay_endpoint and "relay" in self.model_fields_set and not self.relay:
            raise ValueError("relay_endpoint joins a relay, relay=False uses none: give one of them")
        return self

    @field_validator("relay_token")
    @classmethod
    def _fits_into_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not re.fullmatch(r"[!-~]+", token.get_secret_value()):
            raise ValueError(
                "a token has letters, digits and signs of ASCII only; is there a space or the end of a line behind it, "
                "as of a file that it was read from?"
            )
        return token

    @field_validator("backend", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise ValueError("give a name, a list of names, or names separated by commas")
        names = tuple(dict.fromkeys(name.strip().lower() for name in names if name.strip()))
        if not names:
            raise ValueError("name at least one backend")
        return names


def load(arguments: Mapping[str, Any], config: Mapping[str, Any] | None) -> Settings:
    """Merge arguments, `config` and environment, in this order of precedence.

    Args:
        arguments: settings by name; None means "not given".
        config: more settings by name.

    Raises:
        ConfigurationError: a key is unknown, or a value is not of its form.
    """
    given = {**(config or {}), **{name: value for name, value in arguments.items() if value is not None}}
    # Variables of the backends are theirs, no keys of ours.
    known = _own_names()
    for name in given:
        if name not in known:
            hint = did_you_mean(str(name), known) or "."
            raise ConfigurationError(f"unknown config key {name!r}{hint} Known keys: {', '.join(known)}")
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigurationError(f"invalid settings: {problems(error)}") from None


def problems(error: ValidationError) -> str:
    """What is wrong with settings, in our words and without the values, which may be secrets."""
    return "; ".join(_problem(item["loc"], _words(item)) for item in error.errors(include_input=False))


def _own_names() -> list[str]:
    """Names of the settings that are ours; variables of the backends are theirs."""
    return [name for name, field in Settings.model_fields.items() if field.validation_alias is None]


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A hint at the known name that is most like one which is not known; empty where none is.

    Args:
        name: the one that is not known.
        known: those that are.
        prefix: what all of them have in front of them where users write them.
    """
    close = get_close_matches(name, list(known), n=1)
    return f", did you mean {prefix + close[0]!r}?" if close else ""


def unknown_variables() -> list[str]:
    """Variables of the environment that begin as ours do and are none, each with a hint at the one that is meant."""
    known = [name.upper() for name in _own_names()]
    given = {variable: variable.upper().removeprefix("TRACELET_") for variable in own_variables()}
    return [
        f"{variable}{did_you_mean(name, known, 'TRACELET_')}" for variable, name in given.items() if name not in known
    ]


def to_plain(settings: Settings) -> dict[str, Any]:
    """Settings as JSON can hold them, secrets included."""
    plain = settings.model_dump(mode="json")
    # Side by side, as version 0.1.0 kept them.
    plain.update(plain.pop("options"))
    plain["api_key"] = settings.api_key.get_secret_value() if settings.api_key else None
    # It is for joining another relay: no relay and no journal needs it.
    plain["relay_token"] = None
    return plain


def from_plain(plain: Mapping[str, Any]) -> Settings:
    """Settings from what `to_plain` made of them; the environment has no say."""
    key = plain["api_key"]
    typed = {
        "backend": tuple(plain["backend"]),
        "api_key": None if key is None else SecretStr(key),
        "journal_dir": Path(plain["journal_dir"]),
        "options": {name: value for name, value in plain.items() if name not in Settings.model_fields},
    }
    known = {name: value for name, value in plain.items() if name in Settings.model_fields}
    return Settings.model_construct(**{**known, **typed})


def _words(problem: Mapping[str, Any]) -> str:
    """What is wrong with a value, in our words and without the value, which may be a secret."""
    kind, context = str(problem["type"]), problem.get("ctx", {})
    if kind in _LIMITS:
        return f"it has to be {_LIMITS[kind]} {next(iter(context.values()))}"
    if kind == "string_pattern_mismatch":
        return _FORMS.get(str(problem["loc"][0]), _FORM_OF_IDS)
    if kind == "literal_error":
        return f"it has to be one of {context['expected']}"
    return next((words for start, words in _KINDS.items() if kind.startswith(start)), str(problem["msg"]))


def _problem(location: tuple[int | str, ...], message: str) -> str:
    name = ".".join(str(part) for part in location)
    if not name:
        return message.removeprefix("Value error, ")
    return f"{name} (or TRACELET_{name.upper()}): {message}" if name in Settings.model_fields else f"{name}: {message}"
