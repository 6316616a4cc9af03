"""OTLP over HTTP, to a receiver that the standard variables name.

It is sent by `requests`, whose sessions a credential provider gives, and which heeds proxies as users expect it.
"""

from __future__ import annotations

import contextlib
import email.utils
import netrc  # noqa: F401  # else the first request would import it, on a thread
import zlib
from http import HTTPStatus
from typing import Final

import requests

from tracelet_otel._support.guard import Guard
from tracelet_otel._support.redact import without_credentials
from tracelet_otel.exporters.otlp.backlog import Body
from tracelet_otel.exporters.otlp.settings import OtlpSettings
from tracelet_otel.exporters.otlp.transport import (
    DELIVERED,
    MOST_WORDS,
    Answer,
    Verdict,
    header_map,
    provided,
    report_rejected,
)

_FINAL: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_OF_THE_REQUEST: Final = (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.NOT_IMPLEMENTED)


class HttpTransport:
    """Posts requests to one address.

    Args:
        settings: where to, and how.
        guard: where it is said what the receiver has taken in part only.

    Raises:
        ConfigurationError: the credential provider gives no session.
    """

    def __init__(self, settings: OtlpSettings, guard: Guard) -> None:
        self.receiver = settings.shown_endpoint
        self._settings = settings
        self._guard = guard
        self._secret = settings.endpoint.partition("?")[2]
        self._headers = {**header_map(settings.headers), "content-type": "application/x-protobuf"}
        if settings.compression != "none":
            self._headers["content-encoding"] = settings.compression
        self._session = provided(settings.provider, requests.Session) if settings.provider else requests.Session()
        # Said with each request: REQUESTS_CA_BUNDLE would win over the session's own.
        self._verify = settings.certificate or (None if self._session.verify is True else self._session.verify)
        if settings.client_certificate is not None:
            key = settings.client_key
            self._session.cert = (settings.client_certificate, key) if key else settings.client_certificate

    def send(self, body: Body) -> Answer:
        """Post a request once; over a connection that the receiver has closed meanwhile, twice."""
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
        """Close what is idle; a request that hangs is left behind with its thread."""
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
        if response.ok:
            report_rejected(response.content, self._guard)
            return DELIVERED
        words = response.content[:MOST_WORDS].decode(errors="replace")
        reason = f"HTTP status {response.status_code} {response.reason}: {words}".removesuffix(": ")
        verdict = Verdict.KEPT
        if response.status_code in _FINAL:
            verdict = Verdict.REFUSED
        elif response.status_code in _OF_THE_REQUEST:
            verdict = Verdict.DOUBTFUL
        return Answer(verdict, self._shown(reason), retry_after_s(response.headers.get("retry-after"), response))

    def _shown(self, words: str) -> str:
        return (words.replace(self._secret, "") if self._secret else words)[:MOST_WORDS]


def retry_after_s(value: str | None, response: requests.Response) -> float | None:
    """Seconds after which a receiver wants the next attempt; None where it does not say.

    Source: RFC 9110, "Retry-After".
    """
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        return max(float(value), 0.0)
    with contextlib.suppress(TypeError, ValueError, KeyError):
        # Against the receiver's own clock.
        then, now = (email.utils.parsedate_to_datetime(one) for one in (value, response.headers["date"]))
        return max((then - now).total_seconds(), 0.0)
    return None
