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

GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"
_PROTOCOLS: Final = (GRPC, HTTP)
_COMPRESSIONS: Final = {GRPC: ("none", "gzip"), HTTP: ("none", "gzip", "deflate")}
_DEFAULT_ENDPOINTS: Final = {GRPC: "http://localhost:4317", HTTP: "http://localhost:4318"}
_METRICS_PATH: Final = "/v1/metrics"
_DEFAULT_TIMEOUT_S: Final = 10.0
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[\x20!#-+\--:<-\[\]-~]*")
"""A header that `parse_env_headers` accepts. It would log any other header with its value, which may be a secret."""

_PREFIXES: Final = ("OTEL_EXPORTER_OTLP_", "OTEL_PYTHON_EXPORTER_OTLP_")
"""Of all variables that are read here."""
_GIVEN: Final = "backend_url"
"""Name of the source, in errors, of an endpoint that is passed as an argument."""
_PROVIDERS: Final = {
    protocol: (
        f"OTEL_PYTHON_EXPORTER_OTLP_{infix}_METRICS_CREDENTIAL_PROVIDER",
        f"OTEL_PYTHON_EXPORTER_OTLP_{infix}_CREDENTIAL_PROVIDER",
    )
    for protocol, infix in ((GRPC, "GRPC"), (HTTP, "HTTP"))
}
"""Variables that name a credential provider. Source: OpenTelemetry's SDK, environment variables."""
_PROTOCOL: Final = (names.OTEL_EXPORTER_OTLP_METRICS_PROTOCOL, names.OTEL_EXPORTER_OTLP_PROTOCOL)
_ENDPOINT: Final = (names.OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, names.OTEL_EXPORTER_OTLP_ENDPOINT)
_COMPRESSION: Final = (names.OTEL_EXPORTER_OTLP_METRICS_COMPRESSION, names.OTEL_EXPORTER_OTLP_COMPRESSION)
_TIMEOUT: Final = (names.OTEL_EXPORTER_OTLP_METRICS_TIMEOUT, names.OTEL_EXPORTER_OTLP_TIMEOUT)
_HEADERS: Final = (names.OTEL_EXPORTER_OTLP_METRICS_HEADERS, names.OTEL_EXPORTER_OTLP_HEADERS)
_INSECURE: Final = (names.OTEL_EXPORTER_OTLP_METRICS_INSECURE, names.OTEL_EXPORTER_OTLP_INSECURE)
_HISTOGRAMS: Final = names.OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION
_EXPLICIT: Final = "explicit_bucket_histogram"
_EXPONENTIAL: Final = "base2_exponential_bucket_histogram"
_FILES: Final = (
    (names.OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE, names.OTEL_EXPORTER_OTLP_CERTIFICATE),
    (names.OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY, names.OTEL_EXPORTER_OTLP_CLIENT_KEY),
    (names.OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE, names.OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE),
)


@dataclass(frozen=True)
class OtlpSettings:
    """How metrics are sent by OTLP."""

    protocol: str
    endpoint: str
    """For HTTP the address to which metrics are posted; for gRPC an address with or without a scheme."""
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

    @property
    def shown_endpoint(self) -> str:
        """The endpoint without the parts that may be secret."""
        return without_credentials(self.endpoint).partition("?")[0]


def read(environment: Mapping[str, str], endpoint: str | None) -> OtlpSettings:
    """Read the settings from environment variables; an empty variable counts as not set.

    Args:
        environment: environment variables of the process.
        endpoint: takes precedence over that of the variables; for HTTP, one without a path gets the path of metrics.

    Raises:
        ConfigurationError: a variable or the endpoint has an invalid value.
    """
    variable, protocol = _value(environment, _PROTOCOL)
    protocol = protocol or GRPC
    _check_known(variable, protocol, _PROTOCOLS)
    variable, compression = _value(environment, _COMPRESSION)
    compression = compression.lower() or "none"
    _check_known(f"{variable} with {protocol}", compression, _COMPRESSIONS[protocol])
    certificate, client_key, client_certificate = (_file(*_value(environment, pair)) for pair in _FILES)
    source, named = _named_endpoint(environment, endpoint, protocol)
    _check_endpoint(source, named, protocol)
    return OtlpSettings(
        protocol,
        _with_path(source, named) if protocol == HTTP else named,
        compression,
        _timeout_s(*_value(environment, _TIMEOUT)),
        _headers(*_value(environment, _HEADERS)),
        _is_insecure(named, _value(environment, _INSECURE)[1]),
        certificate,
        client_key,
        client_certificate,
        _value(environment, _PROVIDERS[protocol])[1],
        _has_exponential_histograms(environment),
    )


def named(environment: Mapping[str, str]) -> dict[str, str]:
    """Those environment variables that are read here; none where they name no endpoint."""
    if not _value(environment, _ENDPOINT)[1]:
        return {}
    return {name: value for name, value in environment.items() if name.startswith(_PREFIXES)}


def _value(environment: Mapping[str, str], variables: tuple[str, str]) -> tuple[str, str]:
    """Name and value of the first variable of a pair that is set: that of metrics, else that of all signals."""
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


def _named_endpoint(environment: Mapping[str, str], given: str | None, protocol: str) -> tuple[str, str]:
    """The source of the endpoint, as errors name it, and the endpoint."""
    if given:
        return _GIVEN, given
    variable, value = _value(environment, _ENDPOINT)
    return variable, value or _DEFAULT_ENDPOINTS[protocol]


def _with_path(source: str, endpoint: str) -> str:
    """The address to which metrics are posted. An endpoint from the variable for metrics only is used as it is."""
    if source == names.OTEL_EXPORTER_OTLP_ENDPOINT:
        return endpoint.removesuffix("/") + _METRICS_PATH
    parts = urlsplit(endpoint)
    is_bare = source == _GIVEN and parts.path in ("", "/")
    return parts._replace(path=_METRICS_PATH).geturl() if is_bare else endpoint


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
        raise ConfigurationError(f"{problem}; for HTTP, set {_PROTOCOL[-1]}={HTTP}")


def _is_grpc(parts: SplitResult) -> bool:
    return parts.path in ("", "/") and parts.username is None and not parts.query
