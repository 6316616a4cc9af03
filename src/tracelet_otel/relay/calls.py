"""What a relay is asked over HTTP, a call at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import requests

from tracelet_otel.relay.messages import CONTENT_TYPE, METRICS_PATH, RUNS_PATH, Status

_TIMEOUT_S: Final = 30.0
_STATUS_TIMEOUT_S: Final = 5.0
_NO_SUCH_PAGE: Final = (requests.codes.not_found, requests.codes.method_not_allowed)


@dataclass(frozen=True)
class Address:
    """Where a relay is and what it asks for."""

    endpoint: str
    """As in `http://127.0.0.1:40001`."""
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What each request bears."""
        return {"Authorization": f"Bearer {self.token}"}


NO_RELAY: Final = Address("", "")
"""Of a run that has none: its ranks send elsewhere."""


def post(
    session: requests.Session, address: Address, content: bytes, timeout_s: float = _TIMEOUT_S
) -> requests.Response:
    """Send an OTLP request in protobuf form.

    Raises:
        requests.RequestException: there was no answer.
    """
    return session.post(
        f"{address.endpoint}{METRICS_PATH}",
        data=content,
        headers={**address.headers, "Content-Type": CONTENT_TYPE},
        timeout=timeout_s,
        allow_redirects=False,
    )


def fetch_status(address: Address, run_id: str, timeout_s: float = _STATUS_TIMEOUT_S) -> Status | None:
    """How far a run's delivery is; None where the relay does not answer."""
    try:
        with plain_session() as session:
            answer = session.get(f"{address.endpoint}{RUNS_PATH}{run_id}", headers=address.headers, timeout=timeout_s)
            return Status.from_line(answer.text) if answer.status_code == requests.codes.ok else None
    except requests.RequestException:
        return None


def is_collector(address: Address) -> bool:
    """Whether what listens there takes metrics and knows of no runs; False where nothing answers."""
    try:
        with plain_session() as session:
            answer = session.get(
                f"{address.endpoint}{RUNS_PATH}any", headers=address.headers, timeout=_STATUS_TIMEOUT_S
            )
    except requests.RequestException:
        return False
    # A relay says in OTLP's form that it has no such run.
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    return answer.status_code in _NO_SUCH_PAGE and kind != CONTENT_TYPE


def wait_for(look: Callable[[], bool], deadline_s: float, pause_s: float = 0.02) -> bool:
    """Look until something holds, or until a time of the monotonic clock; returns whether it does."""
    while not look():
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.5)
    return True


def plain_session() -> requests.Session:
    """A session that heeds no environment."""
    session = requests.Session()
    # No proxies: the token would go there too.
    session.trust_env = False
    return session
