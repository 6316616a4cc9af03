"""The relay's HTTP side takes what it should, and nothing else, whatever is sent to it."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import resource
import socket
import zlib
from dataclasses import dataclass, field

import psutil
import pytest
from google.rpc.status_pb2 import Status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.support.sdk import exported
from tracelet_otel._support.guard import Guard
from tracelet_otel.protocol.messages import MAX_BODY_BYTES
from tracelet_otel.relay.clock import Clock
from tracelet_otel.relay.figures import RelayFigures
from tracelet_otel.relay.journal import Journal
from tracelet_otel.relay.meter import RelayMeter
from tracelet_otel.relay.ranges import stored
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.relay.server import Application, HttpServer, listen
from tracelet_otel.relay.taking import Accepted, take
from tracelet_otel.settings import Settings

TOKEN = "the-token-of-this-run"
GOOD = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-protobuf"}
EMPTY = ExportMetricsServiceRequest().SerializeToString()
BODY = encode_metrics(exported([{"loss": 0.5}, {"loss": 0.25}])).SerializeToString()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def message(self) -> str:
        return Status.FromString(self.content).message


@dataclass
class Relay:
    port: int
    journal: Journal
    guard: Guard = field(default_factory=Guard)

    def ask(self, body=b"", method="POST", path="/v1/metrics", headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, GOOD if headers is None else headers)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())
        finally:
            connection.close()

    def raw(self, content: bytes, *, ends: bool = True) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(content)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    @property
    def held(self):
        seen = stored(self.journal.state, "seen").values()
        samples = sum(last - first + 1 for pairs in seen for first, last in pairs)
        return samples, self.journal.readings_after(0)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    journal = Journal(tmp_path_factory.mktemp("http") / "r1.journal")
    run = RelayedRun(journal, guard := Guard(), Settings())

    def accept(requests):
        return take(requests, lambda _, parts: Accepted(run.accept(parts), ""))

    application = Application(TOKEN, accept, {"r1": run.status}.get, guard, Clock(), RelayMeter(lambda: [run.figures]))
    serving = HttpServer(application, listen("127.0.0.1", 0))
    yield Relay(serving.port, journal, guard)
    serving.stop()
    journal.remove()


@pytest.fixture
def relay(server):
    before = server.held
    yield server
    assert server.held == before, "something was accepted"
    assert server.guard.counts == {}


def test_what_is_good_is_accepted_once(server):
    before = server.held[0]
    # The same samples again, also packed: a sender that saw no answer sends them again.
    for body, more in ((BODY, {}), (BODY, {}), (gzip.compress(BODY), {"Content-Encoding": "gzip"})):
        answer = server.ask(body, headers={**GOOD, **more})
        assert (answer.status, answer.content, answer.headers["content-type"]) == (200, b"", "application/x-protobuf")
    assert server.held[0] == before + 2


def test_how_far_a_run_is_can_be_asked(relay):
    assert relay.ask(method="GET", path="/v1/runs/r1").status == 200
    assert relay.ask(method="GET", path="/v1/runs/other").status == 404


def test_the_relay_tells_its_own_figures(server):
    def figures():
        answer = server.ask(method="GET", path="/v1/relay")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        return RelayFigures.from_line(answer.content.decode())

    before = figures()
    assert server.ask(BODY).status == 200
    assert server.ask(BODY, headers={**GOOD, "Authorization": "Bearer wrong"}).status == 401
    assert server.ask(b"no request").status == 400
    after = figures()
    more = {status: number - before.requests.get(status, 0) for status, number in after.requests.items()}
    assert {status: number for status, number in more.items() if number} == {200: 1, 401: 1, 400: 1}
    assert (after.requests[503], after.turned_away_s) == (0, None)
    assert after.runs.readings == server.held[0]
    assert after.memory_bytes == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)
    assert server.ask(method="GET", path="/v1/relay", headers={}).status == 401


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"headers": {**GOOD, "Authorization": "Bearer wrong"}}, 401, "bearer token is missing or wrong"),
        ({"headers": {"Content-Type": GOOD["Content-Type"]}}, 401, "bearer token is missing or wrong"),
        ({"headers": {**GOOD, "Authorization": f"Basic {TOKEN}"}}, 401, "bearer token is missing or wrong"),
        ({"path": "/v1/traces"}, 404, "nothing here but /v1/metrics"),
        ({"method": "PUT"}, 405, "takes POST only"),
        ({"method": "DELETE", "path": "/v1/runs/r1"}, 405, "takes GET only"),
        ({"path": "/v1/relay"}, 405, "takes GET only"),
        ({"headers": {**GOOD, "Content-Type": "application/json"}}, 415, "content type has to be"),
        ({"headers": {"Authorization": GOOD["Authorization"]}}, 415, "content type has to be"),
        ({"headers": {**GOOD, "Content-Encoding": "br"}}, 415, "content encoding has to be"),
        ({"headers": {**GOOD, "Content-Encoding": "gzip"}}, 400, "not gzip"),
        ({"headers": {**GOOD, "Content-Encoding": "gzip"}, "body": gzip.compress(BODY)[:-9]}, 400, "one whole gzip"),
        ({"headers": {**GOOD, "Content-Encoding": "gzip"}, "body": gzip.compress(BODY) * 2}, 400, "one whole gzip"),
        ({"body": BODY[:-3]}, 400, "no OTLP metrics request"),
        ({"body": b"\xff" * 100}, 400, "no OTLP metrics request"),
        ({"body": bytes(MAX_BODY_BYTES + 1)}, 413, "over 67108864 bytes"),
        (
            {"headers": {**GOOD, "Content-Encoding": "gzip"}, "body": gzip.compress(bytes(MAX_BODY_BYTES + 1), 1)},
            413,
            "over 67108864 bytes when unpacked",
        ),
    ],
)
def test_what_is_wrong_is_answered_with_its_status(relay, change, status, message):
    answer = relay.ask(**{"body": BODY, **change})
    assert answer.status == status
    assert message in answer.message
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_a_length_far_beyond_the_limit_is_enough_to_refuse(relay):
    lines = [b"POST /v1/metrics HTTP/1.1", b"Host: relay", *(f"{k}: {v}".encode() for k, v in GOOD.items())]
    answered = relay.raw(b"\r\n".join([*lines, b"Content-Length: 10000000000", b"", b""]), ends=False)
    assert answered.startswith(b"HTTP/1.1 413")
    assert b"over 67108864 bytes" in answered


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["Content-Length: 100"], BODY[:50]),
        (["Content-Length: -1"], BODY),
        ([f"Content-Length: {len(BODY)}", f"Content-Length: {len(BODY) + 1}"], BODY),
        (["Transfer-Encoding: chunked"], b"zz\r\n" + BODY),
        ([f"Content-Length: {len(BODY)}", "Authorization: Bearer other"], BODY),
    ],
)
def test_a_request_that_contradicts_itself_is_not_accepted(relay, lines, body):
    head = ["POST /v1/metrics HTTP/1.1", "Host: relay", *(f"{name}: {value}" for name, value in GOOD.items()), *lines]
    assert not relay.raw("\r\n".join([*head, "", ""]).encode() + body).startswith(b"HTTP/1.1 200")


def test_a_thousand_requests_without_the_token_change_nothing(relay):
    for number in range(1000):
        headers = {**GOOD, "Authorization": f"Bearer {number}"} if number % 2 else {"Content-Type": "text/plain"}
        assert relay.ask(BODY, headers=headers).status == 401


def test_a_thousand_connections_are_open_at_a_time(relay):
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    head = "\r\n".join(["POST /v1/metrics HTTP/1.1", "Host: relay", *(f"{k}: {v}" for k, v in GOOD.items())])
    # Nothing that is new, so that nothing is accepted.
    asked = f"{head}\r\nContent-Length: {len(EMPTY)}\r\n\r\n".encode() + EMPTY

    async def ask_all():
        connections = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", relay.port) for _ in range(1024)))
        for _ in range(2):
            for _, outgoing in connections:
                outgoing.write(asked)
            answers = await asyncio.gather(*(incoming.readuntil(b"\r\n\r\n") for incoming, _ in connections))
            assert {answer.partition(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 200 OK"}
        for _, outgoing in connections:
            outgoing.close()

    asyncio.run(ask_all())
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))


fuzz = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
header_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@fuzz
@given(
    method=st.sampled_from(["POST", "GET", "PUT", "HEAD", "OPTIONS", "PATCH"]),
    path=st.one_of(st.just("/v1/metrics"), header_text.map(lambda text: "/" + text.replace(" ", ""))),
    headers=st.dictionaries(
        st.sampled_from(["Authorization", "Content-Type", "Content-Encoding", "X-Other", "Expect"]),
        st.one_of(header_text, st.sampled_from([*GOOD.values(), "gzip", "100-continue"])),
    ),
    body=st.one_of(st.binary(max_size=200), st.just(BODY), st.just(gzip.compress(BODY)), st.just(zlib.compress(BODY))),
)
def test_whatever_the_headers_and_bodies(relay, method, path, headers, body):
    answer = relay.ask(body, method, path, headers)
    good = (
        method == "POST"
        and path == "/v1/metrics"
        and headers.get("Authorization") == GOOD["Authorization"]
        and headers.get("Content-Type", "").partition(";")[0].strip().lower() == GOOD["Content-Type"]
    )
    # That nothing was accepted shows the journal: what it may accept here, it has.
    assert answer.status in ({200, 400, 415} if good else {400, 401, 404, 405, 415, 417, 200}), answer
    if answer.status == 200 and not good:
        assert method == "GET"
        assert headers.get("Authorization") == GOOD["Authorization"]


@fuzz
@given(content=st.binary(min_size=1, max_size=300), start=st.sampled_from([b"", b"POST /v1/metrics HTTP/1.1\r\n"]))
def test_whatever_the_bytes(relay, content, start):
    assert not relay.raw(start + content).startswith(b"HTTP/1.1 200")
    assert relay.ask(method="GET", path="/v1/runs/r1").status == 200


@fuzz
@given(positions=st.lists(st.integers(0, len(BODY) - 1), min_size=1, max_size=5), data=st.data())
def test_a_body_with_flipped_bytes_never_breaks_the_relay(server, positions, data):
    body = bytearray(BODY)
    for position in positions:
        body[position] = data.draw(st.integers(0, 255))
    assert server.ask(bytes(body)).status in (200, 400)
    assert server.guard.counts == {}
