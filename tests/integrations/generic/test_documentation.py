"""What docs/sources/generic.md shows works as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from bot.domain.events import Event
from integrations.generic import Config, GenericWebhook, schema
from tests.listening import Listening, QuietHandler

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "sources" / "generic.md").read_text(encoding="utf-8")
SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo+/w=="


def block(language: str) -> str:
    """The page's first example in a language."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


class Listener:
    """Passes whatever is posted to the door and keeps the events."""

    def __init__(self) -> None:
        door = GenericWebhook("nightly", Config.model_validate({"secrets": SECRET}))
        events: list[Event] = []

        class Handler(QuietHandler):
            def respond(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                events.extend(door.receive(headers, body, datetime.now(UTC)).events)
                self.send_response(202 if self.path == "/webhooks/nightly" else 404)
                self.end_headers()

        self.events = events
        self.server = Listening(Handler)
        self.url = self.server.url


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A door on a free port."""
    listener = Listener()
    yield listener
    listener.server.close()


def run(listener: Listener, *command: str) -> None:
    """Run an example with the environment that the page speaks of."""
    environment = {**os.environ, "NIGHTLY_SECRET": SECRET, "SHIPMATE_URL": listener.url, "no_proxy": "*"}
    subprocess.run(command, env=environment, check=True, timeout=60, capture_output=True)


def test_the_python_example_is_understood(listener: Listener) -> None:
    """Copied from the page, it tells a start and an end."""
    run(listener, sys.executable, "-c", block("python"))
    assert [event.delivery_key for event in listener.events] == ["user-service-42-start", "user-service-42-end"]


@pytest.mark.skipif(not (shutil.which("openssl") and shutil.which("curl")), reason="needs openssl and curl")
def test_the_shell_example_is_understood(listener: Listener) -> None:
    """Copied from the page, it tells an end."""
    run(listener, "sh", "-ec", block("sh"))
    assert [str(event.subject) for event in listener.events] == ["build:nightly/user-service#42"]


def test_the_example_body_is_valid() -> None:
    """The body on the page passes the schema."""
    jsonschema.Draft202012Validator(schema()).validate(json.loads(block("json")))
