"""What of Slack may be configured, and that errors hold no secret."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from integrations.slack.config import SlackConfig, SlackDestination

SOCKET = {"bot_token": "xoxb-1-hidden", "app_token": "xapp-1-hidden"}


def test_the_least_configuration() -> None:
    """Two tokens are enough: the bot opens a socket."""
    config = SlackConfig.model_validate(SOCKET)
    assert (config.mode, config.command, config.api_url) == ("socket", "/ship", "https://slack.com/api/")
    assert "hidden" not in repr(config)


def test_another_api_is_a_folder() -> None:
    """Methods are appended to it."""
    config = SlackConfig.model_validate({**SOCKET, "api_url": "https://slack-gov.com/api"})
    assert config.api_url == "https://slack-gov.com/api/"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bot_token": "xoxp-1-hidden"}, "xoxb-"),
        ({"app_token": None}, "connections:write"),
        ({"app_token": "xoxb-1-hidden"}, "xapp-"),
        ({"mode": "http"}, "signing_secret"),
        ({"mode": "http", "signing_secret": " "}, "signing_secret"),
        ({"command": "ship"}, "a slash and one word"),
        ({"command": "/Ship"}, "a slash and one word"),
        ({"locale": "de"}, "en, zh-CN"),
        ({"api_url": "slack.com"}, "http or https"),
        ({"token": "x"}, "Extra inputs"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, object], said: str) -> None:
    """In words that lead to the setting."""
    with pytest.raises(ValidationError) as caught:
        SlackConfig.model_validate(SOCKET | changes)
    messages = " ".join(one["msg"] for one in caught.value.errors())
    assert said in messages
    assert "hidden" not in messages


@pytest.mark.parametrize("given", ["#ci", "#研发", "C024BE7LH", "G024BE7LH", "U024BE7LH", {"channel": "#ci"}])
def test_a_destination_is_a_name_or_an_id(given: object) -> None:
    """As a text or a mapping."""
    assert SlackDestination.model_validate(given).channel.lstrip("#")


@pytest.mark.parametrize("given", ["ci", "# ci", "#", "https://x.slack.com/archives/C1", {"channel": "#ci", "x": 1}])
def test_anything_else_is_no_destination(given: object) -> None:
    """Least of all a name without its #, which might be an id."""
    with pytest.raises(ValidationError):
        SlackDestination.model_validate(given)
