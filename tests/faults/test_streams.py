"""The connections over which people are heard: cut, in the middle of a push, and while nobody listens.

A platform sends again what was not acknowledged, and a person presses again when nothing comes: neither does anything
twice.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.proxy import Kind, fault
from tests.faults.scene import PROJECT, Faulty
from tests.scenarios.running import CI, DEV_GROUP, fresh

pytestmark = pytest.mark.one_engine

MUTES = {CI: "/ship mute {}", DEV_GROUP: "@Shipmate 静音 {}"}
WHO = {CI: "/ship whoami", DEV_GROUP: "@Shipmate 我是谁"}
PLATFORMS = {CI: "slack", DEV_GROUP: "dingtalk"}


@pytest.fixture
def hurried(faulty: Faulty) -> Iterator[Faulty]:
    """Platforms that wait only a second for an acknowledgement before they send again."""
    faulty.scene.playground.client.options(slack_ack_timeout_s=1.0, dingtalk_ack_timeout_s=1.0)
    yield faulty
    faulty.scene.playground.client.options(slack_ack_timeout_s=3.0, dingtalk_ack_timeout_s=5.0)


def _connections(faulty: Faulty, channel: str) -> int:
    return int(faulty.scene.playground.state(recent=1)["platforms"][PLATFORMS[channel]]["connections"])


def _await_stream(faulty: Faulty, channel: str) -> None:
    faulty.scene.eventually(lambda: _connections(faulty, channel) == 1, "the stream to stand", 40.0)


def _project(faulty: Faulty, channel: str) -> str:
    project = fresh("web")
    faulty.scene.tell(project, 1, "started")
    faulty.scene.card(channel, f"{project} #1")
    _await_stream(faulty, channel)
    return project


@pytest.mark.parametrize("channel", MUTES, ids=PLATFORMS.get)
@pytest.mark.parametrize("kind", [Kind.LOSE_PUSH, Kind.LOSE_REPLY], ids=["push", "acknowledgement"])
def test_a_stream_that_is_cut_in_a_push_does_what_it_says_once(hurried: Faulty, channel: str, kind: Kind) -> None:
    """Whether the push or its acknowledgement was lost: it comes again over the next connection, and is done once."""
    project = _project(hurried, channel)
    cut = fault(kind, project, times=1)
    hurried.chat.breaks(cut)
    hurried.scene.say(channel, MUTES[channel].format(project))
    hurried.scene.audited(1, "mute", project)
    _await_stream(hurried, channel)
    assert cut.met == 1
    hurried.scene.say(channel, MUTES[channel].format(project))  # a person who saw no answer says it again
    hurried.scene.audited(2, "mute", project)


@pytest.mark.parametrize("channel", MUTES, ids=PLATFORMS.get)
def test_a_press_while_nobody_listens_and_another_one_start_one_build(hurried: Faulty, channel: str) -> None:
    """The connection is dropped; a person presses, sees an error or nothing, and presses again when it stands."""
    scene = hurried.scene
    number = hurried.fail()
    card = scene.card(channel, f"{PROJECT} #{number}", "❌")
    _await_stream(hurried, channel)
    assert scene.playground.act(platform=PLATFORMS[channel], disconnect="drop")["connections"] == 1
    scene.click(channel, card, "retry")
    _await_stream(hurried, channel)
    scene.click(channel, card, "retry")
    scene.eventually(lambda: number in hurried.buildbot.rebuilt, "the build to be started anew")
    scene.ask(channel, WHO[channel], "U024ALICE01" if channel == CI else "manager4220")
    scene.all_answered()
    assert hurried.buildbot.rebuilt.count(number) == 1
