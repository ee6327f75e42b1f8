"""Channels are found by name among those that the bot is in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from bot.errors import DestinationGone, RateLimited
from integrations.slack.channels import FRESH_S, Channels
from integrations.slack.web import KeepAliveWebClient
from playground import world
from playground.server import Playground

METHOD = "users.conversations"


@pytest.fixture
def channels(playground: Playground, session: requests.Session, monkeypatch: pytest.MonkeyPatch) -> Channels:
    """Of a workspace whose channels of the bot fill three pages."""
    monkeypatch.setattr("integrations.slack.channels.PAGE", 5)
    for number in range(10):
        name = f"#team-{number}"
        playground.client.act(platform="slack", channel=name, as_="alice", create=name)
    web = KeepAliveWebClient(session, world.SLACK_BOT_TOKEN, f"{playground.url}/slack/api/")
    return Channels(web)


def _pages(playground: Playground) -> int:
    return len([call for call in playground.client.calls(method=METHOD) if "fault" not in call])


def test_names_are_looked_up_over_all_pages(channels: Channels, playground: Playground) -> None:
    """Pages are read until the name is found, and read once for several destinations."""
    first = channels.id_of("ci")
    assert (first, _pages(playground)) == (world.SLACK_CHANNELS[0].id, 1)
    assert channels.id_of("team-9") != channels.id_of("team-3")
    assert _pages(playground) == 3
    assert channels.id_of("ci") == first
    assert _pages(playground) == 3


def test_a_channel_without_the_bot_is_not_found(channels: Channels, playground: Playground) -> None:
    """It could not be posted in; the sentence says what to do, and asking again costs nothing for a minute."""
    for _ in range(3):
        with pytest.raises(DestinationGone, match="invite it"):
            channels.id_of("random")
    assert _pages(playground) == 3


def test_a_minute_later_an_invitation_is_seen(playground: Playground, session: requests.Session) -> None:
    """Whoever invites the bot afterwards need not start it anew."""
    now = 0.0
    web = KeepAliveWebClient(session, world.SLACK_BOT_TOKEN, f"{playground.url}/slack/api/")
    channels = Channels(web, now_s=lambda: now)
    with pytest.raises(DestinationGone):
        channels.id_of("random")
    playground.client.act(platform="slack", channel="#random", as_="alice", invite=True)
    now = FRESH_S
    assert channels.id_of("random") == "C024RANDOM3"


def test_a_reading_that_slack_stops_goes_on_where_it_was(channels: Channels, playground: Playground) -> None:
    """After a pause that Slack asks for, the pages that were read are not read again."""
    channels.id_of("ci")
    playground.client.faults({"platform": "slack", "method": METHOD, "kind": "retry_after", "retry_after": 7})
    with pytest.raises(RateLimited):
        channels.id_of("team-9")
    playground.client.faults()
    assert channels.id_of("team-9")
    assert _pages(playground) == 3


def test_destinations_that_are_resolved_at_once_read_once(channels: Channels, playground: Playground) -> None:
    """A file with many channels does not spend the workspace's budget on the same pages."""
    names = [f"team-{number}" for number in range(10)]
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(channels.id_of, names))) == 10
    assert _pages(playground) == 3
