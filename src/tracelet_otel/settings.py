"""All settings of a run, in one frozen object.

Each field is also read from the environment variable `TRACELET_<FIELD>`; what the caller passes takes precedence.
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
from tracelet_otel._support.problems import problems_of
from tracelet_otel._support.tags import parsed, problem_of
from tracelet_otel._support.text import encodable
from tracelet_otel.errors import ConfigurationError

RELAY_PLATFORMS: Final = ("linux", "darwin")
"""Platforms on which a relay can run in a process of its own, which needs the sessions and signals of POSIX."""
DEFAULT_PROJECT: Final = "Default"
"""Name of the project of runs for which none is given."""
OTLP: Final = "otlp"
"""Name of the backend that is no tracker: any receiver of OpenTelemetry's own protocol."""
_FORM_OF_TAGS: Final = "give a mapping of text, or text as in team=vision,baseline"
_NO_VARIABLE: Final = "no variable has a blank in its name"
"""The alias of a field that must not be read from an environment variable."""
_LONGEST_S: Final = 1e6
"""Largest setting of a time in seconds, since locks and timestamps have limits."""


def _state_directory() -> Path:
    """The directory in which the user's programs keep their state, where nothing says otherwise."""
    try:
        return user_state_path("tracelet-otel")
    except RuntimeError as error:
        # As in a container whose user is a number only.
        raise ConfigurationError(
            "the user has no home directory: set TRACELET_JOURNAL_DIR to a directory that can be written"
        ) from error


class Settings(BaseSettings):
    """What a run does and where its metrics go."""

    model_config = SettingsConfigDict(
        env_prefix="TRACELET_", extra="forbid", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    exp_name: str | None = None
    """Name of the run; by default made from the script's name and the time."""
    project: str = DEFAULT_PROJECT
    """Name of the project, which MLflow calls experiment."""
    backend: Annotated[tuple[str, ...], NoDecode] = ("mlflow",)
    """Names of the backends, in order and without repetitions."""
    api_key: SecretStr | None = None
    """API key for the backend, if it takes one."""
    backend_url: str | None = None
    """Address of the backend; it takes precedence over the backend's own environment variable."""
    run_id: str | None = Field(default=None, pattern=semconv.RUN_ID_PATTERN)
    """Id of the run to continue."""
    resume: Literal["auto", "off"] = "off"
    """Whether a script that is started again for the same job goes on with its run."""
    run_key: str | None = Field(default=None, min_length=1, max_length=1000)
    """The user's own name of the job. It also turns `resume` on, unless that is given."""
    tags: Annotated[Mapping[str, str], NoDecode] = Field(default_factory=dict)
    """Tags of the run, by name; as text `team=vision,baseline`."""
    notes: str | None = None
    """What the run is about, in as many words as one likes."""
    group: str | None = None
    """Name of the group of runs that the run belongs to."""
    job_type: str | None = None
    """What the run does in its group, as in `train` or `eval`."""
    track_lightning: bool = True
    """Whether what Lightning logs is captured."""
    track_time: bool = True
    """Whether it is measured what the time of a training goes to."""
    track_gradients: int | None = Field(default=None, ge=0)
    """The norm of the gradients is recorded before every n-th step of an optimizer; never for None and 0."""
    summary: bool = True
    """Whether what is shown at the end of a run says where the time went."""
    quiet: bool = False
    """Whether nothing is shown of a run but warnings and errors."""
    track_system: bool = True
    """Whether GPU and host are measured."""
    track_git: bool = True
    """Whether the state of the code is recorded."""
    track_environment: bool = True
    """Whether the command line, the installed packages and a summary of the module are recorded."""
    metrics_interval: float = Field(default=10.0, gt=0, le=_LONGEST_S)
    """Seconds between two readings of GPU and host, and of a relay's own figures."""
    export_interval: float = Field(default=1.0, gt=0, le=_LONGEST_S)
    """Seconds between two exports of logged rows."""
    stop_timeout: float = Field(default=30.0, gt=0, le=_LONGEST_S)
    """Seconds for which the end of a run waits for the delivery; a relay goes on after that."""
    start_timeout: float = Field(default=60.0, gt=0, le=_LONGEST_S)
    """Seconds for which `start_logging` waits for the relay and its trackers."""
    prepare: bool = False
    """Whether the relay of a script that calls nothing of this package is started when it has imported Lightning."""
    relay: bool = Field(default_factory=lambda: sys.platform in RELAY_PLATFORMS)
    """Whether trackers run in a relay, a process of their own."""
    relay_bind: str = Field(default="127.0.0.1:0", pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^:\s]+):\d{1,5}$")
    """Host and port on which a relay listens; port 0 for any that is free."""
    relay_endpoint: str | None = Field(default=None, pattern=r"^https?://[^/@?#\s]+/?$")
    """Address of a relay that already runs, as in `http://relay:4319`."""
    relay_token: SecretStr | None = Field(default=None, min_length=16)
    """Token that the relay of `relay_endpoint` asks for."""
    relay_patience: float = Field(default=600.0, gt=0, le=_LONGEST_S)
    """Seconds for which the relay goes on after the run's end with a backend that takes nothing."""
    capture_media: bool = False
    """Whether pictures, tables, texts and files are recorded that other loggers of a trainer are handed."""
    console: bool | Literal["all"] = False
    """Whether what is printed is recorded: of rank 0, or of all ranks."""
    checkpoints: Literal["reference", "best", "top_k", "all", "off"] = "reference"
    """Which checkpoints are uploaded; of all others, trackers are told where they are and how good."""
    runs: Literal["script", "trainer"] = "script"
    """Whether all that a script trains is one run, or each trainer has a run of its own below that of the script."""
    workers: Literal["child", "same", "off"] = "child"
    """Whether what processes train that a script starts is recorded in runs below its own, in the same one, or not."""
    ranks: Literal["merged", "each"] = "merged"
    """Whether the values of all ranks are merged into one, or each rank has its own series."""
    rank_timeout: float = Field(default=60.0, gt=0, le=_LONGEST_S)
    """Seconds for which a value waits for ranks that have not logged it."""
    journal_dir: Path = Field(default_factory=_state_directory)
    """Directory of the journals, in which a relay keeps what it has accepted and not delivered yet."""
    journal_limit: int = Field(default=4096, gt=0)
    """Largest size of a run's journal in MiB. Where a tracker is away so long that more waits, the oldest values are
    dropped."""
    otlp_endpoint: str | None = None
    """Address of the OTLP receiver. It takes precedence over `OTEL_EXPORTER_OTLP_ENDPOINT` and similar variables, which
    the exporter reads itself."""
    options: Mapping[str, Any] = Field(default_factory=dict, validation_alias=AliasChoices(_NO_VARIABLE))
    """The options of all trackers that are used, by field; `exporters.registry.absolute` adds them."""

    @property
    def trackers(self) -> tuple[str, ...]:
        """The backends that are experiment trackers."""
        return tuple(name for name in self.backend if name != OTLP)

    @property
    def streams(self) -> bool:
        """Whether each rank sends its metrics to an OTLP receiver."""
        return OTLP in self.backend

    @property
    def has_relay(self) -> bool:
        """Whether trackers run in the process of a relay, which this run starts or joins."""
        return self.relay or self.relay_endpoint is not None

    @property
    def goes_on(self) -> bool:
        """Whether a run is to be continued that an earlier start for the same job has begun."""
        return self.resume == "auto" or (self.run_key is not None and "resume" not in self.model_fields_set)

    @property
    def purpose(self) -> dict[str, str]:
        """Resource attributes that say what the run is for: its group and its job type, as far as they are given."""
        given = {semconv.RUN_GROUP: self.group, semconv.RUN_JOB_TYPE: self.job_type}
        return {name: encodable(text) for name, text in given.items() if text is not None}

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

    @field_validator("tags", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        tags = parsed(value) if isinstance(value, str) else value
        names = [str(name) for name in tags] if isinstance(tags, Mapping) else None
        problem = _FORM_OF_TAGS if names is None else next(filter(None, map(problem_of, names)), None)
        if problem is not None:
            raise ValueError(problem)
        return tags

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
    """Merge arguments, `config` and environment variables, in this order of precedence.

    Args:
        arguments: settings by name; None means "not given".
        config: more settings by name.

    Raises:
        ConfigurationError: a key is unknown, or a value is invalid.
    """
    given = {**(config or {}), **{name: value for name, value in arguments.items() if value is not None}}
    # The options of trackers come from their own environment variables, and are no keys of `config`.
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
    """Describe what is wrong with settings, in our words and without the values, which may be secrets."""
    return problems_of(error, Settings.model_fields)


def _own_names() -> list[str]:
    """Names of all settings but `options`, which come from the trackers' own environment variables."""
    return [name for name, field in Settings.model_fields.items() if field.validation_alias is None]


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A hint at the known name that is most similar to an unknown one; empty where none is similar.

    Args:
        name: the unknown name.
        known: the known names.
        prefix: added in front of the name in the hint, as users have to write it.
    """
    close = get_close_matches(name, list(known), n=1)
    return f", did you mean {prefix + close[0]!r}?" if close else ""


def unknown_variables() -> list[str]:
    """Environment variables that have our prefix and are no settings, each with a hint at the one that may be meant."""
    known = [name.upper() for name in _own_names()]
    given = {variable: variable.upper().removeprefix("TRACELET_") for variable in own_variables()}
    return [
        f"{variable}{did_you_mean(name, known, 'TRACELET_')}" for variable, name in given.items() if name not in known
    ]


def to_plain(settings: Settings) -> dict[str, Any]:
    """Convert settings to values that JSON can hold, secrets included."""
    plain = settings.model_dump(mode="json")
    # The options are on the same level as the other settings, as in journals of version 0.1.0.
    plain.update(plain.pop("options"))
    plain["api_key"] = settings.api_key.get_secret_value() if settings.api_key else None
    # This token is for joining another relay, so no relay and no journal needs it.
    plain["relay_token"] = None
    return plain


def from_plain(plain: Mapping[str, Any]) -> Settings:
    """Convert the values that `to_plain` has returned back to settings; environment variables are not read."""
    key = plain["api_key"]
    typed = {
        "backend": tuple(plain["backend"]),
        "api_key": None if key is None else SecretStr(key),
        "journal_dir": Path(plain["journal_dir"]),
        "options": {name: value for name, value in plain.items() if name not in Settings.model_fields},
    }
    known = {name: value for name, value in plain.items() if name in Settings.model_fields}
    return Settings.model_construct(**{**known, **typed})
