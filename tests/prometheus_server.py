"""A real Prometheus for tests, one a pytest process, with a history of its own and a service that it scrapes.

A plugin. Tests that use the fixtures carry the mark `prometheus`, which looks whether it is installed. The history ends
at `T0`, far from the present, so that what is scraped meanwhile does not disturb it.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.listening import Listening, QuietHandler
from tests.needs import prometheus as programs

T0 = 1_700_000_000
HISTORY_S = 1200
STEP_S = 15
START_S = 30.0
SERVICE = "user-service"
USER, PASSWORD = "shipmate", "open-sesame"
_WEB = f'basic_auth_users: {{{USER}: "$2b$04$mQjaykY.b6KoGf4GWZrYO.rPO5pXuH.YvInoIIBDXP4NpJ8TVGGUO"}}\n'
_CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: live
    static_configs: [{{targets: ["{target}"]}}]
"""
_LISTENING = re.compile(r'msg="Listening on" address=([0-9.]+:[0-9]+)')


@dataclass(frozen=True, slots=True)
class PrometheusServer:
    """A running server."""

    url: str


class Scraped:
    """A service whose /metrics is `text`."""

    def __init__(self) -> None:
        self.text = "# TYPE visitors gauge\nvisitors 7\n"
        self._server = Listening(self._handler())
        self.target = f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    def _handler(self) -> type[QuietHandler]:
        scraped = self

        class Handler(QuietHandler):
            def respond(self) -> None:
                body = scraped.text.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler


def history() -> str:
    """Twenty minutes until T0, in the OpenMetrics text format.

    Ten requests a second, of which from half of the time on one in ten fails; a tenth of the time the target was down;
    nine of ten requests take less than 0.1 s, the rest less than 0.5 s.
    """
    lines: dict[str, list[str]] = {}
    for at in range(T0 - HISTORY_S, T0 + 1, STEP_S):
        seconds = at - (T0 - HISTORY_S)
        failed = max(0, seconds - HISTORY_S // 2)
        samples = {
            f'up{{job="{SERVICE}"}}': int(at > T0 - HISTORY_S + HISTORY_S // 10),
            f'http_requests_total{{job="{SERVICE}",status="200"}}': 10 * seconds - failed,
            f'http_requests_total{{job="{SERVICE}",status="503"}}': failed,
            f'http_request_duration_seconds_bucket{{job="{SERVICE}",le="0.1"}}': 9 * seconds,
            f'http_request_duration_seconds_bucket{{job="{SERVICE}",le="0.5"}}': 10 * seconds,
            f'http_request_duration_seconds_bucket{{job="{SERVICE}",le="+Inf"}}': 10 * seconds,
            'queue_length{pod="a"}': 3,
            'queue_length{pod="b"}': 5,
            'odd{name="say \\"hi\\" \\\\o/"}': 1,
        }
        for name, value in samples.items():
            lines.setdefault(name, []).append(f"{name} {value} {at}")
    return "".join(line + "\n" for name in lines for line in lines[name]) + "# EOF\n"


@contextmanager
def running(
    folder: Path, *, target: str = "127.0.0.1:9", asks_for_password: bool = False
) -> Iterator[PrometheusServer]:
    """A server on a free port, with the history; it is gone afterwards."""
    server, tool = programs()
    (folder / "history.txt").write_text(history(), encoding="utf-8")
    (folder / "prometheus.yml").write_text(_CONFIG.format(target=target), encoding="utf-8")
    (folder / "web.yml").write_text(_WEB if asks_for_password else "", encoding="utf-8")
    backfill = [tool, "tsdb", "create-blocks-from", "--quiet", "openmetrics", "history.txt", "blocks"]
    subprocess.run(backfill, cwd=folder, check=True, capture_output=True, timeout=START_S)
    command = [
        server,
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=blocks",
        "--storage.tsdb.retention.time=100y",
        "--web.listen-address=127.0.0.1:0",
        "--web.config.file=web.yml",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        yield PrometheusServer(f"http://{_address(process, folder / 'log')}")
    finally:
        process.terminate()
        process.wait(START_S)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_S
    while True:
        text = log.read_text(encoding="utf-8")
        if (found := _LISTENING.search(text)) and "Server is ready" in text:
            return found[1]
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"Prometheus does not start:\n{text}")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def scraped() -> Iterator[Scraped]:
    """The service that the server of this pytest process scrapes each second."""
    service = Scraped()
    yield service
    service.close()


@pytest.fixture(scope="session")
def prometheus(scraped: Scraped, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """The server of this pytest process."""
    with running(tmp_path_factory.mktemp("prometheus"), target=scraped.target) as server:
        yield server


@pytest.fixture(scope="session")
def guarded_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """One that asks for USER and PASSWORD."""
    with running(tmp_path_factory.mktemp("guarded"), asks_for_password=True) as server:
        yield server
