"""Sends OTLP over HTTP, to a receiver that OpenTelemetry's environment variables name.

It uses `requests`, because credential providers return its sessions, and because it treats proxies as users expect.
"""

from __future__ import annotations

import contextlib
import netrc  # noqa: F401  # else the first request would import it, on a thread
import zlib
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import requests

from tracelet_otel._support.guard import Guard
from tracelet_otel._support.redact import without_credentials
from tracelet_otel.exporters.otlp.backlog import Body
from tracelet_otel.exporters.otlp.settings import OtlpSettings
from tracelet_otel.exporters.otlp.transport import (
    DELIVERED,
    MOST_WORDS,
    USER_AGENT,
    Answer,
    Verdict,
    provided,
    report_rejected,
    retry_after_s,
    verdict_of,
)

_REFUSED: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_UNKNOWN: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_DOUBTFUL: Final = (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.NOT_IMPLEMENTED)


class HttpTransport:
    """A `Transport` that posts requests to one address.

    Args:
        settings: address of the receiver, credentials and other parameters of a request.
        guard: reports exports that the receiver accepts only in part.

    Raises:
        ConfigurationError: the credential provider does not return a session.
    """

    def __init__(self, settings: OtlpSettings, guard: Guard) -> None:
        self.receiver = settings.shown_endpoint
        self._settings = settings
        self._guard = guard
        # The query as it was given, and as it is sent.
        sent = requests.Request("POST", settings.endpoint).prepare().url or ""
        self._secrets = {urlsplit(settings.endpoint).query, urlsplit(sent).query} - {""}
        # A user agent of the user's takes precedence.
        self._headers = {
            "user-agent": USER_AGENT,
            **dict(settings.headers),
            "content-type": "application/x-protobuf",
        }
        if settings.compression != "none":
            self._headers["content-encoding"] = settings.compression
        self._session = provided(settings.provider, requests.Session) if settings.provider else requests.Session()
        # Passed with each request: REQUESTS_CA_BUNDLE would take precedence over the session's `verify`.
        self._verify = settings.certificate or (None if self._session.verify is True else self._session.verify)
        if settings.client_certificate is not None:
            key = settings.client_key
            self._session.cert = (settings.client_certificate, key) if key else settings.client_certificate

    def send(self, body: Body) -> Answer:
        """Post a request once, and a second time if the receiver has closed the connection in the meantime."""
        content = {"gzip": lambda: body.gzip, "deflate": lambda: zlib.compress(body.protobuf)}.get(
            self._settings.compression, lambda: body.protobuf
        )()
        try:
            response = self._post(content)
        except requests.RequestException as error:
            return Answer(Verdict.KEPT, self._shown(str(error)))
        with contextlib.closing(response):
            return self._answer(response)

    def close(self) -> None:
        """Close idle connections. A request that hangs goes on in its thread."""
        self._session.close()

    def _post(self, content: bytes) -> requests.Response:
        try:
            return self._post_once(content)
        except requests.exceptions.ConnectTimeout:
            raise
        except requests.exceptions.ConnectionError:
            return self._post_once(content)

    def _post_once(self, content: bytes) -> requests.Response:
        return self._session.post(
            self._settings.endpoint,
            data=content,
            headers=self._headers,
            timeout=self._settings.timeout_s,
            verify=self._verify,
            allow_redirects=False,
        )

    def _answer(self, response: requests.Response) -> Answer:
        if response.is_redirect:
            target = without_credentials(response.headers["location"]).partition("?")[0]
            return Answer(Verdict.KEPT, f"the endpoint redirects to {target}, where OTLP does not follow")
        if HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES:
            report_rejected(response.content, self._guard, self._settings.signal)
            return DELIVERED
        words = response.content[:MOST_WORDS].decode(errors="replace")
        reason = f"HTTP status {response.status_code} {response.reason}: {words}".removesuffix(": ")
        verdict = verdict_of(response.status_code, _REFUSED, _DOUBTFUL)
        if self._settings.signal.is_optional and response.status_code in _UNKNOWN:
            verdict = Verdict.UNKNOWN
        return Answer(verdict, self._shown(reason), retry_after_s(response.headers))

    def _shown(self, words: str) -> str:
        for secret in self._secrets:
            words = words.replace(secret, "")
        return words[:MOST_WORDS]
