"""The yardstick of delivering: the same posts by the same client in a bare loop, `python -m benchmarks.bare_slack`."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import requests

from benchmarks.slack_standin import CHANNELS
from integrations.slack.web import KeepAliveWebClient
from playground.loopback import fetch


def post(port: int, calls: int, threads: int) -> None:
    """Make the last post again, in one channel after the other."""
    sample = json.loads(fetch(f"http://127.0.0.1:{port}/last"))
    with requests.Session() as session, ThreadPoolExecutor(threads) as pool:
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=threads))
        web = KeepAliveWebClient(session, "xoxb-nothing", f"http://127.0.0.1:{port}/slack/api/")
        for _ in pool.map(lambda number: web.chat_postMessage(**{**sample, "channel": f"C{number}"}), _turns(calls)):
            pass


def _turns(calls: int) -> list[int]:
    return [number % CHANNELS for number in range(calls)]


if __name__ == "__main__":
    post(*map(int, sys.argv[1:4]))
