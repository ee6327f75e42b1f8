"""Ports and plain requests on 127.0.0.1, never through a proxy that the environment names."""

import http.client
import random
import socket
import urllib.error
import urllib.request

HOST = "127.0.0.1"
OWN_PORTS = range(20_000, 32_768)  # Linux hands out those from 32768 on, others from 49152
_random = random.SystemRandom()  # no two processes draw alike, whatever they seed
_given: set[int] = set()


class NotReachable(Exception):
    """Nothing answered at an address, or not with success."""


def free_port() -> int:
    """Return a TCP port that nothing listens on now, another one at each call.

    It is none of those that systems hand out by themselves, so that it stays free for who has to begin anew on it.
    """
    left = [port for port in OWN_PORTS if port not in _given]
    while not is_port_free(drawn := left.pop(_random.randrange(len(left)))):
        pass
    _given.add(drawn)
    return drawn


def is_port_free(port: int) -> bool:
    """Tell whether a server could listen on `port` now; one that has just ended does not count as taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def is_listening(port: int) -> bool:
    """Tell whether a connection to `port` is accepted within a second."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def fetch(url: str, timeout_s: float = 5.0) -> bytes:
    """Return the body of a 2xx answer to a GET for JSON; NotReachable for anything else."""
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - callers give http
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=timeout_s) as answer:
            body: bytes = answer.read()
    except (OSError, urllib.error.URLError, http.client.HTTPException) as error:
        raise NotReachable(f"{url}: {error}") from error
    return body
