"""The example for several processes."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml

from tests.needs import postgres_binaries
from tests.postgres_server import Cluster

COMPOSE = Path(__file__).parent.parent / "compose.yaml"


@pytest.mark.postgres
def test_a_database_that_is_only_being_set_up_is_not_healthy(postgres: Cluster) -> None:
    """The image sets it up with a server that listens on its socket alone, where no other container reaches it."""
    check = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]["database"]["healthcheck"]["test"]
    assert check[:2] == ["CMD", "pg_isready"]
    command = [str(postgres_binaries() / "pg_isready"), *check[2:]]
    with TemporaryDirectory(prefix="pg-", dir="/tmp") as folder, socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # taken, and nobody listens there
        port = unheard.getsockname()[1]
        (Path(folder) / f".s.PGSQL.{port}").symlink_to(postgres.folder / ".s.PGSQL.5432")
        asked = subprocess.run(
            command, env={**os.environ, "PGHOST": folder, "PGPORT": str(port)}, capture_output=True, check=False
        )
    assert asked.returncode == 2, asked.stdout  # no answer
