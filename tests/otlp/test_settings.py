"""The standard variables and the forms of an endpoint."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.otlp.exporter import collector_exporter
from tracelet_otel.exporters.otlp.settings import GRPC, HTTP, read, read_beside
from tracelet_otel.exporters.otlp.signals import TRACES as OF_TRACES
from tracelet_otel.protocol.samples import Reader

OTLP = "OTEL_EXPORTER_OTLP"
METRICS = "OTEL_EXPORTER_OTLP_METRICS"
HISTOGRAMS = f"{METRICS}_DEFAULT_HISTOGRAM_AGGREGATION"
EXPONENTIAL = "base2_exponential_bucket_histogram"


@pytest.mark.parametrize(
    ("variables", "protocol"),
    [
        ({}, GRPC),
        ({f"{OTLP}_PROTOCOL": ""}, GRPC),
        ({f"{OTLP}_PROTOCOL": HTTP}, HTTP),
        ({f"{OTLP}_PROTOCOL": HTTP, f"{METRICS}_PROTOCOL": GRPC}, GRPC),
        ({f"{OTLP}_PROTOCOL": GRPC, f"{METRICS}_PROTOCOL": f" {HTTP} "}, HTTP),
    ],
)
def test_the_protocol_is_that_of_metrics_then_of_all_then_grpc(variables, protocol):
    assert read(variables, None).protocol == protocol


def test_grpc_is_also_what_the_sdk_takes_where_nothing_is_named(monkeypatch):
    from opentelemetry.sdk._configuration import _get_exporter_entry_point

    assert _get_exporter_entry_point("otlp", "metrics") == "otlp_proto_grpc"


@pytest.mark.parametrize(
    ("protocol", "variables", "given", "endpoint"),
    [
        (HTTP, {}, None, "http://localhost:4318/v1/metrics"),
        (HTTP, {}, "http://host:1", "http://host:1/v1/metrics"),
        (HTTP, {}, "https://me:key@host/", "https://me:key@host/v1/metrics"),
        (HTTP, {}, "http://host:1/?a=b", "http://host:1/v1/metrics?a=b"),
        (HTTP, {}, "http://host/api/v1/otlp/v1/metrics", "http://host/api/v1/otlp/v1/metrics"),
        (HTTP, {f"{OTLP}_ENDPOINT": "http://host/base/"}, None, "http://host/base/v1/metrics"),
        (HTTP, {f"{METRICS}_ENDPOINT": "http://host/base"}, None, "http://host/base"),
        (HTTP, {f"{METRICS}_ENDPOINT": "http://no"}, "http://host", "http://host/v1/metrics"),
        (GRPC, {}, None, "http://localhost:4317"),
        (GRPC, {}, "host:4317", "host:4317"),
        (GRPC, {}, "https://host:4317", "https://host:4317"),
        (GRPC, {f"{OTLP}_ENDPOINT": "http://all:1", f"{METRICS}_ENDPOINT": "[::1]:2"}, None, "[::1]:2"),
    ],
)
def test_forms_of_endpoints(protocol, variables, given, endpoint):
    assert read({f"{OTLP}_PROTOCOL": protocol, **variables}, given).endpoint == endpoint


@pytest.mark.parametrize(
    ("variables", "given", "message"),
    [
        ({f"{OTLP}_PROTOCOL": "http/json"}, None, f"{OTLP}_PROTOCOL: unknown value 'http/json'; known values: grpc, "),
        ({f"{METRICS}_PROTOCOL": "thrift"}, None, f"{METRICS}_PROTOCOL: unknown value 'thrift'"),
        ({f"{OTLP}_COMPRESSION": "deflate"}, None, "COMPRESSION with grpc: unknown value 'deflate'; .* none, gzip$"),
        (
            {f"{METRICS}_COMPRESSION": "zstd", f"{OTLP}_PROTOCOL": HTTP},
            None,
            f"{METRICS}_COMPRESSION with http/protobuf: unknown value 'zstd'; known values: none, gzip, deflate",
        ),
        ({f"{OTLP}_TIMEOUT": "10s"}, None, f"{OTLP}_TIMEOUT: '10s' is no number of seconds"),
        ({f"{METRICS}_TIMEOUT": "0"}, None, f"{METRICS}_TIMEOUT: '0' is no number of seconds"),
        ({f"{OTLP}_HEADERS": "a=1,hush"}, None, f"{OTLP}_HEADERS: header 2 is not as in name=value"),
        ({f"{METRICS}_HEADERS": "a=hush;b"}, None, f"{METRICS}_HEADERS: header 1 is not as in name=value"),
        ({f"{OTLP}_HEADERS": "a=1,key=hu%0Ash"}, None, f"{OTLP}_HEADERS: the value of 'key' has characters that no "),
        ({}, "me:hush@host:port", "backend_url: 'host:port' is no endpoint for grpc"),
        ({f"{OTLP}_CERTIFICATE": "/no/such"}, None, f"{OTLP}_CERTIFICATE: there is no file /no/such"),
        ({f"{METRICS}_CLIENT_KEY": "/no/such"}, None, f"{METRICS}_CLIENT_KEY: there is no file /no/such"),
        ({f"{OTLP}_ENDPOINT": "ftp://host"}, None, f"{OTLP}_ENDPOINT: 'ftp://host' is no endpoint for grpc"),
        ({}, "http://host/path", f"backend_url: .*; for HTTP, set {OTLP}_PROTOCOL=http/protobuf"),
        ({}, "http://me:hush@host:1", "backend_url: 'http://host:1' is no endpoint for grpc"),
        ({}, "http://host:port", "backend_url: 'http://host:port' is no endpoint for grpc"),
        ({}, "http://[", "backend_url"),
        ({f"{OTLP}_PROTOCOL": HTTP}, "host:4318", "backend_url: 'host:4318' is no endpoint for http/protobuf"),
        ({f"{OTLP}_PROTOCOL": HTTP}, "http://[", "backend_url"),
        ({f"{METRICS}_ENDPOINT": "https://"}, None, f"{METRICS}_ENDPOINT: 'https://' is no endpoint"),
        ({HISTOGRAMS: "exponential"}, None, f"{HISTOGRAMS}: unknown value 'exponential'; .* {EXPONENTIAL}$"),
    ],
)
def test_a_mistake_is_named_with_its_variable(variables, given, message, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=message) as raised:
        collector_exporter(given)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize("compression", ["", "none", "gzip", "GZIP", "deflate"])
def test_compression_headers_and_endpoint_are_the_variables(receiver, protocol, compression, monkeypatch):
    from tests.support.sdk import exported

    if protocol == GRPC and compression == "deflate":
        compression = "gzip"  # it has no other
    monkeypatch.setenv(f"{OTLP}_COMPRESSION", compression)
    monkeypatch.setenv(f"{OTLP}_TIMEOUT", "")
    monkeypatch.setenv(f"{OTLP}_HEADERS", "x-key=a%20b, x-other=c d")
    monkeypatch.setenv(f"{OTLP}_ENDPOINT", receiver.endpoint)
    exporter = collector_exporter()
    exporter.export(exported([{"a": 1.0}]))
    exporter.shutdown()
    assert exporter.account.delivered == 1
    assert [(one["x-key"], one["x-other"]) for one in receiver.headers] == [("a b", "c d")]
    if protocol == HTTP:
        wanted = compression.lower() or "none"
        assert [one.get("content-encoding", "none") for one in receiver.headers] == [wanted]


@pytest.mark.parametrize(
    ("chosen", "kind"),
    [("", "histogram"), ("explicit_bucket_histogram", "histogram"), (EXPONENTIAL, "exponential_histogram")],
)
def test_histograms_are_of_the_kind_that_the_variable_names(receiver, chosen, kind, monkeypatch):
    monkeypatch.setenv(HISTOGRAMS, chosen)
    monkeypatch.setenv(f"{OTLP}_ENDPOINT", receiver.endpoint)
    exporter = collector_exporter()
    reader = Reader(exporter)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("any").create_histogram("any").record(3)
    reader.shutdown()
    [metric] = receiver.metrics
    assert metric.WhichOneof("data") == kind
    [point] = getattr(metric, kind).data_points
    assert (point.count, point.sum) == (1, 3)


def test_what_is_secret_in_an_endpoint_is_not_shown():
    settings = read({f"{OTLP}_PROTOCOL": HTTP}, "https://me:hush@host/x?key=hush")
    assert settings.shown_endpoint == "https://host/x"


TRACES = "OTEL_EXPORTER_OTLP_TRACES"


@pytest.mark.parametrize(
    ("protocol", "variables", "given", "endpoint"),
    [
        (HTTP, {}, None, "http://localhost:4318/v1/traces"),
        (HTTP, {}, "http://host:1", "http://host:1/v1/traces"),
        (HTTP, {}, "http://host/api/v1/otlp/v1/metrics?a=b", "http://host/api/v1/otlp/v1/traces?a=b"),
        (HTTP, {}, "http://host/of-its-own", None),
        (HTTP, {f"{OTLP}_ENDPOINT": "http://host/base/"}, None, "http://host/base/v1/traces"),
        (HTTP, {f"{TRACES}_ENDPOINT": "http://host/base"}, None, "http://host/base"),
        (HTTP, {f"{TRACES}_ENDPOINT": "http://host/base"}, "http://of-metrics", "http://host/base"),
        (HTTP, {f"{METRICS}_ENDPOINT": "http://of-metrics"}, None, None),
        (HTTP, {f"{METRICS}_ENDPOINT": "http://no", f"{OTLP}_ENDPOINT": "http://host"}, None, "http://host/v1/traces"),
        (GRPC, {}, "host:4317", "host:4317"),
        (GRPC, {f"{METRICS}_ENDPOINT": "http://no"}, "host:4317", "host:4317"),
    ],
)
def test_where_traces_go(protocol, variables, given, endpoint):
    found = read_beside({f"{OTLP}_PROTOCOL": protocol, **variables}, given, OF_TRACES)
    assert (None if found is None else found.endpoint) == endpoint


def test_traces_for_the_same_receiver_are_sent_as_metrics_are():
    variables = {
        f"{METRICS}_PROTOCOL": HTTP,
        f"{METRICS}_HEADERS": "key=1",
        f"{METRICS}_TIMEOUT": "3",
        f"{TRACES}_TIMEOUT": "4",
        f"{OTLP}_COMPRESSION": "gzip",
    }
    found = read_beside(variables, "http://host", OF_TRACES)
    assert found is not None
    assert (found.protocol, found.headers, found.timeout_s, found.compression) == (HTTP, (("key", "1"),), 4, "gzip")
    # Another receiver gets no credentials of this one.
    other = read_beside({**variables, f"{TRACES}_ENDPOINT": "http://other"}, "http://host", OF_TRACES)
    assert other is not None
    assert (other.protocol, other.headers) == (GRPC, ())
