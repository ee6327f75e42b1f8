"""The doors for those who watch: what a process without a web door tells of itself, and where."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from cryptography.fernet import Fernet, MultiFernet

from bot.bootstrap import build
from bot.domain.budgets import Spent, Window
from bot.errors import ConfigError
from bot.settings import Settings, load
from bot.storage.opening import open_database, store_of
from bot.storage.tables import destinations
from handlers.web import WebServer

KEY = Fernet.generate_key().decode()
PATIENCE_S = 30.0


def _settings(folder: Path, metrics_listen: str = "") -> Settings:
    path = folder / "shipmate.yaml"
    path.write_text(f'server: {{metrics_listen: "{metrics_listen}"}}\n', encoding="utf-8")
    settings = load(path, {})
    open_database(settings, is_upgraded=True).dispose()
    return settings


@contextmanager
def _watched(settings: Settings, role: str, **environment: str) -> Iterator[str]:
    """A process of one role, ready; the address of its door."""
    application = build(settings, frozenset({role}), environment={"SHIPMATE_KEY": KEY, **environment})
    (door,) = application.doors
    assert isinstance(door, WebServer)
    application.start(threading.Event())
    url = f"http://127.0.0.1:{door.port}"
    try:
        deadline = time.monotonic() + PATIENCE_S
        while requests.get(f"{url}/readyz", timeout=30).status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.01)
        yield url
    finally:
        assert application.stop()


@pytest.mark.parametrize("role", ["worker", "stream", "clock"])
def test_each_process_tells_of_itself(role: str, tmp_path: Path) -> None:
    """Whether it lives, whether it is ready, and what it counted; nothing else is answered there."""
    with _watched(_settings(tmp_path, "127.0.0.1:0"), role) as url:
        assert requests.get(f"{url}/healthz", timeout=30).text == "ok\n"
        assert requests.get(f"{url}/readyz", timeout=30).text.startswith("ready\n")
        assert "shipmate_attempts_total" in requests.get(f"{url}/metrics", timeout=30).text
        assert requests.post(f"{url}/webhooks/generic", timeout=30).status_code == 404


def test_budgets_are_told_as_they_stand_in_the_database(tmp_path: Path) -> None:
    """By every process, whichever of them used one; a window that nobody uses any more is empty again."""
    settings = _settings(tmp_path, "127.0.0.1:0")
    with _watched(settings, "worker") as url:
        engine = open_database(settings, is_upgraded=False)
        store = store_of(engine, MultiFernet([Fernet(KEY)]))
        window, now = Window("slack:T0:chat.update", 50), time.time()
        spent, _ = window.take(Spent(), now)
        store.write(lambda tx: tx.budgets.store(window, spent, now))
        with engine.begin() as connection:
            paused = {"key": "slack:T0/C1", "label": "#ci", "free_at": now + 600, "pause_reason": "paused:rate_limited"}
            connection.execute(destinations.insert(), paused)
        told = requests.get(f"{url}/metrics", timeout=30).text
        store.close()
    assert 'shipmate_budget_available{scope="slack:T0:chat.update"} 49.0' in told
    assert 'shipmate_budget_waiting{scope="slack:T0:chat.update"} 0.0' in told
    (pause,) = [
        line for line in told.splitlines() if line.startswith('shipmate_budget_paused_seconds{scope="slack:T0/')
    ]
    assert 500 < float(pause.split()[-1]) <= 600


def test_the_environment_names_a_port_for_each_process(tmp_path: Path) -> None:
    """It outranks the setting, also by naming none."""
    settings = _settings(tmp_path, "127.0.0.1:1")
    with _watched(settings, "worker", SHIPMATE_METRICS_LISTEN="127.0.0.1:0") as url:
        assert not url.endswith(":1")
    assert _doors(settings, SHIPMATE_METRICS_LISTEN="") == 0


def test_without_an_address_there_is_no_door(tmp_path: Path) -> None:
    """A worker listens nowhere unless it is told to."""
    assert _doors(_settings(tmp_path)) == 0


def _doors(settings: Settings, **environment: str) -> int:
    application = build(settings, frozenset({"worker"}), environment={"SHIPMATE_KEY": KEY, **environment})
    assert application.stop()
    return len(application.doors)


def test_an_address_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """By the setting, or by the variable that it comes from."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=r"^server\.metrics_listen: .* is taken by another program"):
            build(_settings(tmp_path, address), frozenset({"worker"}), environment={"SHIPMATE_KEY": KEY})
    for wrong in ("9100", "here:"):
        environment = {"SHIPMATE_KEY": KEY, "SHIPMATE_METRICS_LISTEN": wrong}
        with pytest.raises(ConfigError, match=r"^SHIPMATE_METRICS_LISTEN: must be host:port"):
            build(_settings(tmp_path), frozenset({"clock"}), environment=environment)
