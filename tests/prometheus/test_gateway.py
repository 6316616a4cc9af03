"""Agent, gateway and Prometheus with the shipped files, and certificates that a test makes."""

from __future__ import annotations

import datetime as dt
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import tracelet_otel as tracelet
from tests.support.shipped import ShippedCollector
from tests.support.waiting import wait_until

CONFIG = {"export_interval": 0.2, "track_system": False}


class Authority:
    """Issues certificates into a directory."""

    def __init__(self, home):
        self._home = home
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, home.name)])
        self._write("ca.pem", self._signed(self._name, self._key, is_authority=True))

    def issue(self, name):
        """Variables of the collector's that name a new certificate of this authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._write(f"{name}.pem", self._signed(subject, key))
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self._write(f"{name}.key", key.private_bytes(serialization.Encoding.PEM, *form))
        return {
            "TRACELET_TLS_CA": str(self._home / "ca.pem"),
            "TRACELET_TLS_CERT": str(self._home / f"{name}.pem"),
            "TRACELET_TLS_KEY": str(self._home / f"{name}.key"),
        }

    def _write(self, name, content):
        (self._home / name).write_bytes(content)

    def _signed(self, subject, key, is_authority=False):
        now = dt.datetime.now(dt.timezone.utc)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
        )
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def authority(tmp_path):
    (tmp_path / "ours").mkdir()
    return Authority(tmp_path / "ours")


@pytest.fixture
def start(tmp_path):
    started = []

    def start(home, file, **variables):
        (tmp_path / home).mkdir()
        started.append(ShippedCollector(tmp_path / home, file, **variables))
        started[-1].start()
        return started[-1]

    yield start
    for one in reversed(started):
        one.stop()


@pytest.mark.slow
def test_only_who_has_a_certificate_comes_through(tmp_path, chain, authority, start):
    gateway = start(
        "gateway",
        "gateway.yaml",
        PROMETHEUS_OTLP_ENDPOINT=chain.prometheus.otlp_endpoint,
        PROMETHEUS_AUTHORIZATION="Bearer something",
        **authority.issue("gateway"),
    )
    (tmp_path / "theirs").mkdir()
    strange = {**Authority(tmp_path / "theirs").issue("node"), "TRACELET_TLS_CA": str(tmp_path / "ours" / "ca.pem")}
    target = {"TRACELET_GATEWAY": f"127.0.0.1:{gateway.grpc}"}
    agents = {
        "trusted": start("trusted", "agent.yaml", **target, **authority.issue("node")),
        "strange": start("strange", "agent.yaml", **target, **strange),
    }
    for name, agent in agents.items():
        with tracelet.start_logging(name, backend="otlp", backend_url=agent.endpoint, config=CONFIG) as run:
            run.log_metric("loss", 0.5, 1)
        assert run.accounts["otlp"].pending == 0
    chain.wait_for('loss{tracelet_run_name="trusted"}')
    chain.wait_for('tracelet_run_ended_ratio{tracelet_run_name="trusted"} == 1')
    wait_until(lambda: "certificate" in agents["strange"].log, 30, "the refusal")
    assert not chain.prometheus.query('{tracelet_run_name="strange"}')
