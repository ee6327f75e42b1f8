"""Tries the addresses of deployed services: an HTTP page, an open port.

What keeps a visitor out (refused, reset, too late, a certificate that is not good) is the service's own failure. A name
that nobody knows, a proxy that does not answer or an address that is none are ours: nothing was tried.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy

import requests

from bot.errors import Rejected, Unavailable
from bot.ports.metrics import Reply
from integrations.transport import CONNECT_S, Watch, look_up, open_session, watched

HTTP, TCP = "http", "tcp"
MAX_TEXT_BYTES = 65_536
_HEADERS = {
    "User-Agent": "shipmate-check",
    "Accept": "*/*",
    "Accept-Encoding": "identity",  # the beginning of a text is enough
    "Connection": "close",  # a connection that was made before says nothing of who would come now
}


class Probes:
    """Implements `Prober`; TLS is verified, cookies are not kept."""

    def __init__(self) -> None:
        self._session = open_session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def http(self, url: str, *, timeout_s: float) -> Reply:
        """See `Prober`. At most the first 64 KiB of the text are read."""
        with watched(time.monotonic() + timeout_s) as watch:
            try:
                with self._session.get(
                    url,
                    headers=_HEADERS,
                    timeout=(min(CONNECT_S, timeout_s), timeout_s),
                    stream=True,
                    allow_redirects=False,
                ) as response:
                    text = _beginning(response, watch)
                    return Reply(response.status_code, text)
            except (requests.RequestException, OSError) as problem:
                return Reply(problem="timeout" if watch.is_over else _problem(problem))

    def tcp(self, host: str, port: int, *, timeout_s: float) -> Reply:
        """See `Prober`. Every address of the name is tried."""
        ends_at = time.monotonic() + timeout_s
        try:
            found = look_up(host, port, timeout_s)
        except OSError as problem:
            raise Unavailable(TCP, "unknown_host", type(problem).__name__) from None
        reply = Reply(problem="timeout")
        for family, kind, protocol, _, address in found:
            left_s = ends_at - time.monotonic()
            if left_s <= 0:
                break
            with socket.socket(family, kind, protocol) as sock:
                sock.settimeout(min(CONNECT_S, left_s))
                try:
                    sock.connect(address)
                except OSError as problem:
                    reply = Reply(problem=_word_of(problem) or "unreachable")
                else:
                    return Reply()
        return reply


def _beginning(response: requests.Response, watch: Watch) -> str:
    body = bytearray()
    for chunk in response.iter_content(4096):
        body += chunk
        if len(body) >= MAX_TEXT_BYTES:
            break
    else:
        if watch.is_over:  # what was cut off can look whole
            raise requests.ReadTimeout("deadline passed")
    return bytes(body[:MAX_TEXT_BYTES]).decode("utf-8", "replace")


def _problem(problem: Exception) -> str:
    """Why the page did not come; raises IntegrationError when nobody asked for it."""
    if isinstance(problem, requests.exceptions.ProxyError):
        raise Unavailable(HTTP, "proxy", type(problem).__name__)
    if isinstance(problem, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        raise Rejected(HTTP, "bad_address", type(problem).__name__)
    words = [_word_of(cause) for cause in _causes(problem)]
    if "unknown_host" in words:
        raise Unavailable(HTTP, "unknown_host", type(problem).__name__)
    return next((word for word in words if word), "unreachable")


def _word_of(problem: BaseException) -> str:
    match problem:
        case socket.gaierror():
            return "unknown_host"
        case ssl.SSLError() | requests.exceptions.SSLError():
            return "tls"
        case TimeoutError() | requests.Timeout():
            return "timeout"
        case ConnectionRefusedError():
            return "refused"
        case ConnectionError() | HTTPException():
            return "reset"
        case _:
            return ""


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """An exception with all that it was made of: requests and urllib3 wrap theirs in one another."""
    seen: set[int] = set()
    waiting: list[object] = [problem]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
