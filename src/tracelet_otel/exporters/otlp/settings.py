"""Reads OpenTelemetry's environment variables for OTLP. A malformed variable is an error and never ignored. Pure.

Sources: OpenTelemetry specification, "OpenTelemetry Protocol Exporter"; the SDK's configurator for the default
protocol.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from opentelemetry.sdk import environment_variables as names
from opentelemetry.util.re import parse_env_headers

from tracelet_otel._support.redact import without_credentials
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.otlp.signals import METRICS, OtlpSignal

GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"
_PROTOCOLS: Final = (GRPC, HTTP)
_COMPRESSIONS: Final = {GRPC: ("none", "gzip"), HTTP: ("none", "gzip", "deflate")}
_DEFAULT_ENDPOINTS: Final = {GRPC: "http://localhost:4317", HTTP: "http://localhost:4318"}
_DEFAULT_TIMEOUT_S: Final = 10.0
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[\x20!#-+\--:<-\[\]-~]*")
"""A header that `parse_env_headers` accepts. It would log any other header with its value, which may be a secret."""

_PREFIXES: Final = ("OTEL_EXPORTER_OTLP_", "OTEL_PYTHON_EXPORTER_OTLP_")
"""Of all variables that are read here."""
_GIVEN: Final = "backend_url"
"""Name of the source, in errors, of an endpoint that is passed as an argument."""
_HISTOGRAMS: Final = names.OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION
_EXPLICIT: Final = "explicit_bucket_histogram"
_EXPONENTIAL: Final = "base2_exponential_bucket_histogram"
_INFIXES: Final = {GRPC: "GRPC", HTTP: "HTTP"}
_FILES: Final = ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")


@dataclass(frozen=True)
class OtlpSettings:
    """How one signal is sent by OTLP."""

    protocol: str
    endpoint: str
    """For HTTP the address to which the signal is posted; for gRPC an address with or without a scheme."""
    compression: str
    timeout_s: float
    """Seconds for one attempt."""
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, and values."""
    is_insecure: bool
    """Whether gRPC does not use TLS. For HTTP, the scheme of the endpoint decides that."""
    certificate: str | None
    """File of trusted certificates, to verify the receiver's; None for those of the system."""
    client_key: str | None
    client_certificate: str | None
    provider: str
    """Name of the credential provider's entry point; empty where there is none."""
    has_exponential_histograms: bool = False
    """Whether the buckets of histograms fit themselves to the values. Not every receiver takes these."""
    signal: OtlpSignal = METRICS

    @property
    def shown_endpoint(self) -> str:
        """The endpoint without the parts that may be secret."""
        return without_credentials(self.endpoint).partition("?")[0]


def read(environment: Mapping[str, str], endpoint: str | None, signal: OtlpSignal = METRICS) -> OtlpSettings:
    """Read the settings from environment variables; an empty variable counts as not set.

    Args:
        environment: environment variables of the process.
        endpoint: takes precedence over that of the variables; for HTTP, one without a path gets that of the signal.
        signal: what is sent.

    Raises:
        ConfigurationError: a variable or the endpoint has an invalid value.
    """

    def value(name: str) -> tuple[str, str]:
        return _value(environment, _variables(name, signal))

    variable, protocol = value("PROTOCOL")
    protocol = protocol or GRPC
    _check_known(variable, protocol, _PROTOCOLS)
    variable, compression = value("COMPRESSION")
    compression = compression.lower() or "none"
    _check_known(f"{variable} with {protocol}", compression, _COMPRESSIONS[protocol])
    certificate, client_key, client_certificate = (_file(*value(name)) for name in _FILES)
    source, named = _named_endpoint(value("ENDPOINT"), endpoint, protocol)
    _check_endpoint(source, named, protocol)
    return OtlpSettings(
        protocol,
        _with_path(source, named, signal) if protocol == HTTP else named,
        compression,
        _timeout_s(*value("TIMEOUT")),
        _headers(*value("HEADERS")),
        _is_insecure(named, value("INSECURE")[1]),
        certificate,
        client_key,
        client_certificate,
        _value(environment, _providers(_INFIXES[protocol], signal))[1],
        _has_exponential_histograms(environment),
        signal,
    )


def named(environment: Mapping[str, str]) -> dict[str, str]:
    """Those environment variables that are read here; none where they name no endpoint."""
    if not _value(environment, _variables("ENDPOINT", METRICS))[1]:
        return {}
    return {name: value for name, value in environment.items() if name.startswith(_PREFIXES)}


def read_beside(environment: Mapping[str, str], endpoint: str | None, signal: OtlpSignal) -> OtlpSettings | None:
    """Read the settings for another signal of a run whose metrics go to a collector.

    Args:
        environment: environment variables of the process.
        endpoint: the endpoint that is given for the run; one that the variables name for the signal takes precedence.
        signal: the other signal.

    Returns:
        None where what is named is for metrics only.

    Raises:
        ConfigurationError: a variable or the endpoint has an invalid value.
    """
    of_signal, of_all = _variables("ENDPOINT", signal)
    if _value(environment, (of_signal, of_signal))[1]:
        return read(environment, None, signal)
    if endpoint is None:
        is_for_metrics = _value(environment, _variables("ENDPOINT", METRICS))[1] and not environment.get(of_all)
        return None if is_for_metrics else read(environment, None, signal)
    # The same receiver, which is asked in the same way.
    of_metrics, of_signal = (f"OTEL_EXPORTER_OTLP_{one.variable}_" for one in (METRICS, signal))
    alike = {
        name.replace(of_metrics, of_signal): value
        for name, value in environment.items()
        if value and name.startswith(of_metrics)
    }
    given = {name: value for name, value in environment.items() if value}
    parts = urlsplit(endpoint)
    is_of_metrics = parts.path.endswith(METRICS.path)
    path = parts.path.removesuffix(METRICS.path) + signal.path
    settings = read({**alike, **given}, parts._replace(path=path).geturl() if is_of_metrics else endpoint, signal)
    # A path of the receiver's own is that of metrics, and nobody knows that of the other signal.
    is_known = settings.protocol == GRPC or is_of_metrics or parts.path in ("", "/")
    return settings if is_known else None


def _variables(name: str, signal: OtlpSignal) -> tuple[str, str]:
    return f"OTEL_EXPORTER_OTLP_{signal.variable}_{name}", f"OTEL_EXPORTER_OTLP_{name}"


def _providers(infix: str, signal: OtlpSignal) -> tuple[str, str]:
    """Variables that name a credential provider. Source: OpenTelemetry's SDK, environment variables."""
    prefix = f"OTEL_PYTHON_EXPORTER_OTLP_{infix}"
    return f"{prefix}_{signal.variable}_CREDENTIAL_PROVIDER", f"{prefix}_CREDENTIAL_PROVIDER"


def _value(environment: Mapping[str, str], variables: tuple[str, str]) -> tuple[str, str]:
    """Name and value of the first variable of a pair that is set: that of the signal, else that of all signals."""
    for variable in variables:
        if value := environment.get(variable, "").strip():
            return variable, value
    return variables[-1], ""


def _has_exponential_histograms(environment: Mapping[str, str]) -> bool:
    value = environment.get(_HISTOGRAMS, "").strip().lower() or _EXPLICIT
    _check_known(_HISTOGRAMS, value, (_EXPLICIT, _EXPONENTIAL))
    return value == _EXPONENTIAL


def _check_known(variable: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigurationError(f"{variable}: unknown value {value!r}; known values: {', '.join(known)}")


def _timeout_s(variable: str, value: str) -> float:
    try:
        timeout_s = float(value or _DEFAULT_TIMEOUT_S)
    except ValueError:
        timeout_s = math.nan
    if not 0 < timeout_s < math.inf:
        raise ConfigurationError(f"{variable}: {value!r} is no number of seconds, as in 10")
    return timeout_s


def _file(variable: str, path: str) -> str | None:
    if path and not Path(path).exists():
        raise ConfigurationError(f"{variable}: there is no file {path}")
    # The training may change its working directory.
    return str(Path(path).absolute()) if path else None


def _is_insecure(endpoint: str, value: str) -> bool:
    scheme = endpoint.partition("://")[0].lower() if "://" in endpoint else ""
    return scheme != "https" and (value.lower() == "true" if value else scheme == "http")


def _headers(variable: str, value: str) -> tuple[tuple[str, str], ...]:
    for number, header in enumerate(value.split(","), 1):
        if header.strip() and not _HEADER.fullmatch(header.strip()):
            raise ConfigurationError(
                f"{variable}: header {number} is not as in name=value; what is no plain character is "
                "percent-encoded in the value"
            )
    headers = parse_env_headers(value, liberal=True)
    for name, decoded in headers.items():
        # HTTP and gRPC would raise for it at each request, and show the value.
        if not (decoded.isascii() and decoded.isprintable()):
            raise ConfigurationError(f"{variable}: the value of {name!r} has characters that no header can have")
    return tuple(headers.items())


def _named_endpoint(named: tuple[str, str], given: str | None, protocol: str) -> tuple[str, str]:
    """The source of the endpoint, as errors name it, and the endpoint."""
    if given:
        return _GIVEN, given
    variable, value = named
    return variable, value or _DEFAULT_ENDPOINTS[protocol]


def _with_path(source: str, endpoint: str, signal: OtlpSignal) -> str:
    """The address to which is posted. An endpoint from the variable for this signal only is used as it is."""
    if source == names.OTEL_EXPORTER_OTLP_ENDPOINT:
        return endpoint.removesuffix("/") + signal.path
    parts = urlsplit(endpoint)
    is_bare = source == _GIVEN and parts.path in ("", "/")
    return parts._replace(path=signal.path).geturl() if is_bare else endpoint


def _check_endpoint(source: str, endpoint: str, protocol: str) -> None:
    wanted = "http(s)://host:port" + (" with a path or without one" if protocol == HTTP else " or host:port")
    # A query may hold a key.
    shown = without_credentials(endpoint).partition("?")[0].rpartition("@")[2]
    problem = f"{source}: {shown!r} is no endpoint for {protocol}, which is {wanted}"
    is_target = protocol == GRPC and "://" not in endpoint
    try:
        parts = urlsplit(f"//{endpoint}" if is_target else endpoint)
        is_address = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise ConfigurationError(problem) from None
    if not is_address or not (is_target or parts.scheme in ("http", "https")):
        raise ConfigurationError(problem)
    if protocol == GRPC and not _is_grpc(parts):
        raise ConfigurationError(f"{problem}; for HTTP, set {names.OTEL_EXPORTER_OTLP_PROTOCOL}={HTTP}")


def _is_grpc(parts: SplitResult) -> bool:
    return parts.path in ("", "/") and parts.username is None and not parts.query
