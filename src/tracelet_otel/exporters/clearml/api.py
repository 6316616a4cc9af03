"""Requests to a ClearML server: calls of its REST API, and files for its files server.

ClearML's own session is not used: after a broken connection, a wrong certificate or an expired token it retries for
ever, and no setting limits that. Each request here has one answer, or one error within `REQUEST_S` seconds, and the
caller decides what to do then.

Source: ClearML API reference, version 2.13, and the source of its files server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import requests

from tracelet_otel._support.redact import without_credentials
from tracelet_otel.errors import RefusedError, RunLostError, TrackerUnavailableError
from tracelet_otel.exporters.clearml.content import Content, FormBody

REQUEST_S: Final = 20.0
"""How long the server may send nothing within one request, in seconds."""
INVALID_STATUS: Final = 110
INVALID_MODEL: Final = 201
ALREADY_THERE: Final = 801
"""Subcodes of the server's errors."""
_CONNECT_S: Final = 5.0
_STORED_IN_S: Final = 10 * 2**20
"""Bytes that the files server can at least store in a second, once it has them."""
_API: Final = "v2.13"
_INVALID_TASK: Final = 101
_NOT_ADDED: Final = 131
_NOT_INDEXED: Final = 100
_NOT_TAKEN: Final = (requests.codes.bad_request, requests.codes.request_entity_too_large)
_NOT_REMOVED: Final = (requests.codes.not_found, requests.codes.method_not_allowed)
"""A file is gone already, or nobody may remove any."""


@dataclass(frozen=True)
class ApiServer:
    """A ClearML server, and the credentials for it."""

    api: str
    web: str | None
    """Address of its web pages; None where it is not known."""
    access_key: str
    secret_key: str
    verify: bool = True
    """Whether its certificate is verified."""
    files: str | None = None
    """Address of its files server; None where it is not known."""


class NotLetInError(TrackerUnavailableError):
    """The server does not accept the credentials."""


class AnswerError(Exception):
    """An error with which the server has answered a request."""

    def __init__(self, code: int, subcode: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.subcode = subcode


def files_address(api: str) -> str | None:
    """Address of the files server of an API server, as ClearML's servers have them; None where it does not follow.

    Args:
        api: address of the API server.
    """
    if api.endswith(":8008"):
        return f"{api.removesuffix(':8008')}:8081"
    return api.replace("://api.", "://files.", 1) if "://api." in api else None


class ApiConnection:
    """A connection to a server, for one thread.

    Args:
        server: the server.
        request_s: how long the server may send nothing within one request, in seconds.

    Raises from each method:
        TrackerUnavailableError: the server does not answer, or does not accept the credentials.
    """

    def __init__(self, server: ApiServer, request_s: float = REQUEST_S) -> None:
        self.server: Final = server
        self._request_s = request_s
        self.shown: Final = without_credentials(server.api)
        """Its address, without credentials."""
        self._session = requests.Session()
        self._session.verify = server.verify
        self._token: str | None = None

    def log_in(self) -> None:
        """Log in, as the first call does by itself.

        Raises:
            NotLetInError: the server does not accept the credentials.
        """
        try:
            self._log_in()
        except AnswerError as error:
            raise self.translated(error) from None

    def call(self, endpoint: str, data: Any, task_id: str = "") -> dict[str, Any]:
        """Call an endpoint of the API.

        Args:
            endpoint: its name.
            data: what it takes, or lines of JSON.
            task_id: id of the task that is written to; empty where there is none yet.

        Returns:
            The data of the answer.

        Raises:
            RefusedError: the server will never take it.
            RunLostError: the task is not there any more.
        """
        try:
            return self.request(endpoint, data)
        except AnswerError as error:
            raise self.translated(error, task_id) from None

    def translated(self, error: AnswerError, task_id: str = "") -> Exception:
        """The error of ours for one that the server has answered with."""
        message = f"ClearML at {self.shown}: {error}"
        if error.subcode in (_INVALID_TASK, _NOT_ADDED) and task_id:
            return RunLostError(f"the task is not there any more, or is published: {message}")
        if error.code == requests.codes.bad or error.subcode == _NOT_INDEXED:
            return RefusedError(message)
        return TrackerUnavailableError(f"{message} (status {error.code})")

    def request(self, endpoint: str, data: Any) -> dict[str, Any]:
        """Call an endpoint of the API, where the caller knows what its errors mean.

        Raises:
            AnswerError: the server has answered with an error.
        """
        fresh = self._token is None
        try:
            return self._post(endpoint, data, self._authorization())
        except AnswerError as error:
            # Tokens expire, and a reinstalled server knows none.
            self._token = None
            if error.code != requests.codes.unauthorized or fresh:
                raise
        return self.request(endpoint, data)

    def upload(self, place: str, content: Content) -> str:
        """Send a file to the files server, in parts: it may be larger than the memory.

        Args:
            place: its path there. A file that is there is replaced.
            content: the file.

        Returns:
            The file's address.

        Raises:
            FileNotFoundError: the file is not there.
            RefusedError: there is no files server, or it will never take it.
        """
        server = self._files_server()
        seconds = REQUEST_S + content.size / _STORED_IN_S
        with FormBody(place, content) as body:
            answer = self._to_files("POST", server, seconds, data=body, headers={"Content-Type": body.content_type})
        if answer in _NOT_TAKEN:
            raise RefusedError(f"ClearML's files server at {without_credentials(server)} takes no file {place!r}")
        self._check(answer, server)
        return f"{without_credentials(server)}/{quote(place)}"

    def delete(self, address: str) -> None:
        """Remove a file from the files server, if it is one of that server's and is there."""
        server = self.server.files or ""
        shown = without_credentials(server)
        if server and address.startswith(f"{shown}/"):
            answer = self._to_files("DELETE", server + address.removeprefix(shown), REQUEST_S)
            if answer not in _NOT_REMOVED:
                self._check(answer, server)

    def _files_server(self) -> str:
        server = self.server.files
        if server is None:
            raise RefusedError(
                f"the address of ClearML's files server does not follow from {self.shown}: set CLEARML_FILES_HOST"
            )
        if not server.startswith(("http://", "https://")):
            raise RefusedError(f"files go to a files server of ClearML, and not to {without_credentials(server)}")
        return server

    def _to_files(self, method: str, address: str, seconds: float, **more: Any) -> int:
        """Status with which the files server answers."""
        try:
            headers = {**more.pop("headers", {}), **self._authorization()}
            answer = self._session.request(
                method, address, headers=headers, timeout=(_CONNECT_S, seconds), allow_redirects=False, **more
            )
        except AnswerError as error:
            raise self.translated(error) from None
        except requests.RequestException as error:
            # A server may hang up at once where it does not let us in, without an answer that could be read.
            self._token = None
            raise TrackerUnavailableError(
                f"ClearML's files server at {without_credentials(self._files_server())} cannot be reached "
                f"({type(error).__name__})"
            ) from None
        return int(answer.status_code)

    def _check(self, status: int, server: str) -> None:
        if status != requests.codes.ok:
            self._token = None
            raise TrackerUnavailableError(
                f"ClearML's files server at {without_credentials(server)} answers with HTTP status {status}"
            )

    def _authorization(self) -> dict[str, str]:
        if self._token is None:
            self._log_in()
        return {"Authorization": f"Bearer {self._token}"}

    def _log_in(self) -> None:
        auth = requests.auth.HTTPBasicAuth(self.server.access_key, self.server.secret_key)
        try:
            self._token = str(self._post("auth.login", {}, {}, auth)["token"])
        except AnswerError as error:
            if error.code != requests.codes.unauthorized:
                raise
            raise NotLetInError(
                f"ClearML at {self.shown} does not let us in ({error}): are CLEARML_API_ACCESS_KEY and "
                f"CLEARML_API_SECRET_KEY, or those in clearml.conf, for this server?"
            ) from None

    def _post(
        self, endpoint: str, data: Any, headers: Mapping[str, str], auth: requests.auth.AuthBase | None = None
    ) -> dict[str, Any]:
        batch = isinstance(data, str)
        kind = "application/json-lines" if batch else "application/json"
        try:
            answer = self._session.post(
                f"{self.server.api}/{_API}/{endpoint}",
                data=(data if batch else json.dumps(data)).encode(),
                headers={**headers, "Content-Type": kind},
                auth=auth,
                timeout=(_CONNECT_S, self._request_s),
            )
            content = answer.json()
            meta = content["meta"]
        except requests.exceptions.JSONDecodeError:
            raise TrackerUnavailableError(
                f"ClearML at {self.shown} answers with HTTP status {answer.status_code}: is this its API server?"
            ) from None
        except (requests.RequestException, LookupError, TypeError) as error:
            raise TrackerUnavailableError(
                f"ClearML at {self.shown} cannot be reached ({type(error).__name__}): is the server running?"
            ) from None
        if answer.status_code != requests.codes.ok:
            raise AnswerError(answer.status_code, meta.get("result_subcode", 0), str(meta.get("result_msg")))
        result: dict[str, Any] = content["data"]
        return result
