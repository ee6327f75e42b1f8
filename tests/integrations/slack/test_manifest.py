"""The app manifest, against the schema that Slack publishes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from integrations.slack.manifest import SCOPES, manifest

HERE = Path(__file__).parent
SCHEMA = json.loads((HERE / "manifest.schema.json").read_text(encoding="utf-8"))
GUIDE = HERE.parents[2] / "docs" / "platforms" / "slack.md"


@pytest.mark.parametrize("mode", ["socket", "http"])
def test_slack_takes_the_manifest(mode: str) -> None:
    """In both modes, whatever the bot and its command are called."""
    made = manifest("/船", mode, "https://ship.example.com/", "S" * 60)
    jsonschema.validators.validator_for(SCHEMA)(SCHEMA).validate(made)
    assert made["settings"]["socket_mode_enabled"] == (mode == "socket")


def test_over_http_slack_calls_one_address() -> None:
    """Events, presses and commands have one door."""
    made = manifest("/ship", "http", "https://ship.example.com/")
    said = json.dumps(made)
    assert said.count('"https://ship.example.com/slack/events"') == 3
    assert "https://" not in json.dumps(manifest())


def test_over_http_an_address_is_needed() -> None:
    """Slack calls https only."""
    with pytest.raises(ValueError, match="https://"):
        manifest("/ship", "http", "http://ship.example.com")


def test_the_guide_explains_each_scope() -> None:
    """Whoever approves the app reads what for."""
    chapter = GUIDE.read_text(encoding="utf-8").partition("## Scopes")[2].partition("\n## ")[0]
    explained = re.findall(r"^\| `([a-z_.:]+)` \|", chapter, re.MULTILINE)
    assert sorted(explained) == sorted(SCOPES)
