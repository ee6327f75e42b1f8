"""Ports for servers of tests and of the demo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from playground.loopback import OWN_PORTS, free_port, is_port_free


def test_no_port_is_given_twice() -> None:
    """Whoever starts five servers asks five times before the first of them listens."""
    ports = [free_port() for _ in range(300)]
    assert len(set(ports)) == len(ports)
    assert set(ports) <= set(OWN_PORTS)
    assert is_port_free(ports[-1])


def test_test_processes_side_by_side_draw_from_ports_of_their_own() -> None:
    """Neither is given a port that the other one has been given and does not listen on yet."""
    drawn = [_drawn_by(worker) for worker in ("gw0", "gw1")]
    assert all(drawn)
    assert not drawn[0] & drawn[1]


def _drawn_by(worker: str) -> set[str]:
    """What a test process of two may draw from."""
    environment = {**os.environ, "PYTEST_XDIST_WORKER": worker, "PYTEST_XDIST_WORKER_COUNT": "2"}
    program = "import tests.conftest\nfrom playground import loopback\nprint(*loopback.OWN_PORTS)"
    root = Path(__file__).parents[2]
    told = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        cwd=root,
        timeout=60,
    )
    return set(told.stdout.split())
