"""HTTP calls to other systems: one try, one total deadline, errors by class.

What the status alone can tell is decided here; each integration then reads success from the body.
"""

from __future__ import annotations

import json as json_codec
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NameResolutionError

from bot.errors import AuthFailed, DestinationGone, OutcomeUnknown, RateLimited, Rejected, Unavailable
from integrations.transport import CONNECT_S, Watch, end_of_all, watched

CALL_DEADLINE_S = 8.0
MAX_ANSWER_BYTES = 8 * 1024 * 1024
DEFAULT_PAUSE_S = 30.0
LONGEST_PAUSE_S = 86400.0
_NO_REQUEST = (requests.ConnectTimeout, requests.exceptions.InvalidURL, requests.exceptions.MissingSchema)
GAVE_UP = 504  # a gateway's word for: it hung up, and what is behind it may still be at work
_CHUNK = 65536
_LEAST_S = 0.05  # a call that has less time left than this is not begun


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer: status, headers and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - whatever the system sent
        """The body as JSON; ValueError when it is not."""
        return json_codec.loads(self.body)


def call(  # noqa: PLR0913 - the parts of a request, all by name
    session: requests.Session,
    system: str,
    method: str,
    url: str,
    *,
    deadline_s: float = CALL_DEADLINE_S,
    changes: bool | None = None,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    json: object = None,
    content: bytes | str | None = None,
) -> Answer:
    """One request within `deadline_s` from the look-up of the name to the last byte; redirects are not followed.

    `session` is one of `transport.open_session`; the calls of a `transport.together` end with it. Raises Unavailable
    when the request was certainly not carried out, OutcomeUnknown when it may have been (only for calls that change
    something: `changes`, by default every method but GET), with the reason `timeout` where it may yet be: we hung up.
    Answers of any status are returned.
    """
    is_change = method.upper() != "GET" if changes is None else changes
    deadline_s = min(deadline_s, end_of_all() - time.monotonic())
    if deadline_s < _LEAST_S:
        raise Unavailable(system, "deadline")
    with watched(time.monotonic() + deadline_s) as watch:
        try:
            with session.request(
                method,
                url,
                headers=headers,
                params=params,
                json=json,
                data=content,
                timeout=(min(CONNECT_S, deadline_s), deadline_s),
                stream=True,
                allow_redirects=False,
            ) as response:
                return Answer(response.status_code, response.headers, _read(response, watch))
        except requests.RequestException as problem:
            if is_change and not _never_sent(problem, watch):
                is_late = watch.is_over or isinstance(problem, requests.Timeout)
                raise OutcomeUnknown(system, "timeout" if is_late else "no_answer", type(problem).__name__) from None
            raise Unavailable(system, "unreachable", _cause(problem, url)) from None


def _cause(problem: requests.RequestException, url: str) -> str:
    """Which host and port could not be reached, and how that showed; no other part of the address."""
    parts = urlsplit(url)
    host = parts.hostname or "-"
    wrapped = getattr(problem.args[0], "reason", None) if problem.args else None
    if isinstance(wrapped, NameResolutionError):
        return f"{host} has no address"
    system = wrapped.__cause__ if wrapped is not None else None
    where = f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    if isinstance(problem, requests.ConnectTimeout):
        return f"{where} did not answer in time"
    said = system.strerror if isinstance(system, OSError) and system.strerror else type(problem).__name__
    return f"{where}: {said}"


def raise_for_status(system: str, answer: Answer, *, changes: bool = False) -> None:
    """The error that a status other than 2xx stands for; the body is not part of it (it may hold secrets)."""
    status = answer.status
    if 200 <= status < 300:
        return
    if status == 429:
        raise RateLimited(system, "rate_limited", pause_of(answer.headers))
    if status in (401, 403):
        raise AuthFailed(system, f"http_{status}")
    if status in (404, 410):
        raise DestinationGone(system, f"http_{status}")
    if status >= 500:
        kind = OutcomeUnknown if changes and status != 503 else Unavailable
        raise kind(system, "timeout" if changes and status == GAVE_UP else f"http_{status}")
    if is_by_a_proxy(status):
        raise Unavailable(system, f"http_{status}")
    raise Rejected(system, f"http_{status}")


def is_by_a_proxy(status: int) -> bool:
    """Whether something in between says it: redirections (to a login page), a proxy's own password, its time-out."""
    return 300 <= status < 400 or status in (407, 408)


def pause_of(headers: Mapping[str, str], default_s: float = DEFAULT_PAUSE_S) -> float:
    """Seconds asked for by Retry-After; the default where it is missing, a date or nonsense.

    No system asks for more than a day: who believed such a number would be silent for good.
    """
    try:
        asked = float(headers.get("Retry-After", ""))
    except ValueError:
        return default_s
    return asked if 0.0 < asked <= LONGEST_PAUSE_S else default_s


def _read(response: requests.Response, watch: Watch) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise requests.exceptions.ContentDecodingError("answer too large")
    if watch.is_over:  # what was cut off can look whole: headers or a body that end with the connection
        raise requests.ReadTimeout("deadline passed")
    return bytes(body)


def _never_sent(problem: requests.RequestException, watch: Watch) -> bool:
    """Whether the connection was never made, or nothing was asked over it yet, so that nothing can have happened."""
    if watch.is_connecting or isinstance(problem, _NO_REQUEST):
        return True
    text = repr(problem)  # of connections that are not watched: those through a SOCKS proxy
    is_refused = "NewConnectionError" in text or "Connection refused" in text
    return isinstance(problem, requests.ConnectionError) and is_refused
