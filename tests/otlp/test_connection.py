"""How a receiver is reached: TLS, certificates of either side, credentials that a provider makes, and its pauses."""

from __future__ import annotations

import ssl
import time
from typing import Any

import grpc
import pytest

from tests.otlp.stream import Stream
from tests.support.otlp_receiver import GrpcReceiver, HttpReceiver, samples_of
from tests.support.sdk import exported
from tests.support.waiting import free_port, wait_until
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.otlp import sender as otlp_sender
from tracelet_otel.exporters.otlp.exporter import collector_exporter
from tracelet_otel.exporters.otlp.settings import HTTP, read
from tracelet_otel.exporters.otlp.transport import retry_after_s


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    from tests.support.certificates import make_certificates

    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def guarded(protocol, certificates):
    """An endpoint with TLS that wants the certificate of whoever calls."""
    receiver = guarded_receiver(protocol, certificates)
    yield receiver
    receiver.stop()


def guarded_receiver(protocol: str, files: Any) -> GrpcReceiver | HttpReceiver:
    if protocol == HTTP:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.server, files.server_key)
        context.load_verify_locations(files.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        return HttpReceiver(tls=context)
    pair = (files.server_key.read_bytes(), files.server.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], files.authority.read_bytes(), require_client_auth=True)
    return GrpcReceiver(tls=credentials)


def sent(endpoint):
    exporter = collector_exporter(endpoint)
    exporter.export(exported([{"a": 1.0}]))
    exporter.shutdown(timeout=3000)
    return exporter.account


@pytest.mark.whole
def test_certificates_of_both_sides_are_those_of_the_variables(guarded, certificates, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "")
    assert sent(guarded.endpoint).delivered == 0
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificates.authority))
    assert sent(guarded.endpoint).delivered == 0
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", str(certificates.client_key))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", str(certificates.client))
    assert sent(guarded.endpoint).delivered == 1


@pytest.mark.parametrize(
    ("endpoint", "variables", "is_insecure"),
    [
        ("http://host:1", {}, True),
        ("https://host:1", {}, False),
        ("https://host:1", {"OTEL_EXPORTER_OTLP_INSECURE": "true"}, False),
        ("http://host:1", {"OTEL_EXPORTER_OTLP_INSECURE": "false"}, False),
        ("host:1", {}, False),
        ("host:1", {"OTEL_EXPORTER_OTLP_INSECURE": "True"}, True),
        ("host:1", {"OTEL_EXPORTER_OTLP_INSECURE": "true", "OTEL_EXPORTER_OTLP_METRICS_INSECURE": "false"}, False),
    ],
)
def test_grpc_has_tls_unless_it_is_said_otherwise(endpoint, variables, is_insecure):
    assert read(variables, endpoint).is_insecure is is_insecure


PROVIDERS = """
import os
from pathlib import Path
import grpc
import requests

def session():
    made = requests.Session()
    made.verify, made.cert = os.environ["AUTHORITY"], (os.environ["CLIENT"], os.environ["CLIENT_KEY"])
    return made

def channel():
    files = [Path(os.environ[name]).read_bytes() for name in ("AUTHORITY", "CLIENT_KEY", "CLIENT")]
    return grpc.ssl_channel_credentials(*files)
"""


@pytest.fixture
def provider(tmp_path, monkeypatch, protocol, certificates):
    """A distribution that makes credentials, as somebody installs it beside us."""
    (tmp_path / "credential_providers.py").write_text(PROVIDERS)
    metadata = tmp_path / "somebodys-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    lines = "[opentelemetry_otlp_credential_provider]\n" + "".join(
        f"{name} = credential_providers:{name}\n" for name in ("session", "channel")
    )
    (metadata / "entry_points.txt").write_text(lines)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("authority", "client", "client_key"):
        monkeypatch.setenv(name.upper(), str(getattr(certificates, name)))
    infix = "HTTP" if protocol == HTTP else "GRPC"
    return f"OTEL_PYTHON_EXPORTER_OTLP_{infix}_METRICS_CREDENTIAL_PROVIDER"


@pytest.mark.whole
def test_credentials_are_those_of_the_provider(guarded, provider, protocol, monkeypatch):
    monkeypatch.setenv(provider, "session" if protocol == HTTP else "channel")
    assert sent(guarded.endpoint).delivered == 1


@pytest.mark.whole
def test_a_provider_that_is_none_is_named(provider, protocol, monkeypatch):
    monkeypatch.setenv(provider, "nobody")
    with pytest.raises(ConfigurationError, match="no credential provider 'nobody'"):
        collector_exporter("https://host:1")
    monkeypatch.setenv(provider, "channel" if protocol == HTTP else "session")
    with pytest.raises(ConfigurationError, match=r"gives .*, not (Session|ChannelCredentials)"):
        collector_exporter("https://host:1")


def test_the_pause_that_a_receiver_asks_for_is_kept(receiver):
    """The first pause of its own would be a quarter of that."""
    receiver.ill, receiver.pause_s = "503", 1
    exporter = collector_exporter(receiver.endpoint)
    start = time.monotonic()
    exporter.export(exported([{"a": 1.0}]))
    wait_until(lambda: receiver.attempts >= 2, 30, "another attempt")
    assert time.monotonic() - start >= 1
    receiver.ill = None
    wait_until(lambda: exporter.account.delivered, 30, "the arrival")
    exporter.shutdown()


def test_who_asks_for_pauses_gets_fewer_requests(receiver):
    receiver.ill, receiver.pause_s = "503", 1
    exporter = collector_exporter(receiver.endpoint)
    stream = Stream(exporter)
    for _ in range(20):
        stream.log()
        stream.collect()
    wait_until(lambda: receiver.attempts, 30, "an attempt")
    receiver.ill = None
    wait_until(lambda: exporter.account.delivered == 40, 30, "the arrival")
    # The first was being sent while the others came.
    assert len(receiver.requests) == 2
    assert receiver.samples == stream.expected
    stream.end()
    assert receiver.samples == stream.expected


def test_a_receiver_that_was_busy_for_long_is_not_kept_waiting_afterwards(receiver):
    """However often it has asked for a pause, the next request comes after twice as long and not minutes later."""
    receiver.ill, receiver.pause_s = "503", 0
    exporter = collector_exporter(receiver.endpoint)
    exporter.export(exported([{"a": 1.0}]))
    wait_until(lambda: receiver.attempts >= 6, 30, "several attempts")
    receiver.ill = None
    for number in range(1, 4):
        wait_until(lambda number=number: exporter.account.delivered == number, 3, f"delivery {number}")
        exporter.export(exported([{"a": 1.0}]))
    exporter.shutdown()
    assert exporter.account.delivered == 4


def test_nobody_who_waits_waits_for_pauses_between_requests(receiver):
    receiver.ill, receiver.pause_s = "503", 5
    exporter = collector_exporter(receiver.endpoint)
    exporter.export(exported([{"a": 1.0}]))
    wait_until(lambda: receiver.attempts, 30, "an attempt")
    receiver.ill = None
    start = time.monotonic()
    for _ in range(5):
        exporter.export(exported([{"a": 1.0}]))
        assert exporter.force_flush(30_000)
    assert time.monotonic() - start < 5
    exporter.shutdown()
    assert exporter.account.delivered == 6


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "soon", "-1"])
def test_a_pause_that_is_none(value):
    assert retry_after_s({"retry-after": value}) == (0.0 if value == "-1" else None)


def test_of_requests_that_are_refused_together_only_those_are_lost_that_are_refused_by_themselves(receiver):
    receiver.ill, receiver.pause_s = "503", 1
    receiver.refuses = lambda request: any(sample[0] == "bad" for sample in samples_of([request]))
    exporter = collector_exporter(receiver.endpoint)
    for name in ("first", "good", "bad", "better"):
        exporter.export(exported([{name: 1.0}]))
    wait_until(lambda: receiver.attempts, 30, "an attempt")
    receiver.ill = None
    wait_until(lambda: not exporter.account.pending, 30, "the end of all")
    exporter.shutdown()
    assert (exporter.account.delivered, exporter.account.refused) == (3, 1)
    arrived = [sample[0] for request in receiver.requests for sample in samples_of([request])]
    assert arrived == ["first", "good", "better"]


def test_a_receiver_that_is_busy_for_long_loses_nothing(receiver, monkeypatch):
    """It says when to come back, so it is not the export that it fails at."""
    monkeypatch.setattr(otlp_sender, "_DOUBTED_S", 0.0)
    monkeypatch.setattr(otlp_sender, "_FIRST_PAUSE_S", 0.01)
    receiver.ill, receiver.pause_s = "429", 0
    exporter = collector_exporter(receiver.endpoint)
    exporter.export(exported([{"a": 1.0}]))
    wait_until(lambda: receiver.attempts > 12, 30, "more attempts than a failing receiver gets")
    receiver.ill = None
    exporter.shutdown()
    assert (exporter.account.delivered, exporter.account.refused) == (1, 0)


@pytest.mark.whole
@pytest.mark.parametrize("half", ["KEY", "CERTIFICATE"])
def test_half_of_what_a_client_shows_ends_no_process(guarded, certificates, monkeypatch, half):
    name = {"KEY": "client_key", "CERTIFICATE": "client"}[half]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificates.authority))
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_CLIENT_{half}", str(getattr(certificates, name)))
    assert sent(guarded.endpoint).delivered == 0


@pytest.mark.whole
def test_a_certificate_and_its_key_may_be_in_one_file(guarded, certificates, monkeypatch, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(certificates.client.read_bytes() + certificates.client_key.read_bytes())
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificates.authority))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(both))
    assert sent(guarded.endpoint).delivered == 1


def test_what_cannot_be_read_is_a_setting_that_is_wrong(monkeypatch, protocol, tmp_path):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(tmp_path))
    if protocol == HTTP:
        monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "nobody")
    with pytest.raises(ConfigurationError, match=r"cannot be made|no credential provider"):
        collector_exporter("https://host:1")


def test_a_query_that_is_sent_in_another_form_is_not_shown(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", HTTP)
    exporter = collector_exporter(f"http://127.0.0.1:{free_port()}/?key=TOP|SECRET#part")
    exporter.export(exported([{"a": 1.0}]))
    exporter.shutdown(timeout=500)
    assert exporter.account.pending == 1
    assert "SECRET" not in caplog.text + str(exporter.account.problem)
