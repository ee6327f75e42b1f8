"""Talking to the bot: where it listens, whom it answers, and what a channel can ask for by itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from playground import world
from tests.scenarios.running import CI, DEV_GROUP, Scene, fresh

ALICE = "U024ALICE01"


def a_channel(scene: Scene) -> str:
    """A Slack channel of the test's own that the bot is in, and that no configuration names."""
    name = f"#{fresh('team')}"
    assert scene.playground.act(platform="slack", create=name)["ok"]
    return name


def a_group(scene: Scene) -> str:
    """A DingTalk group of the test's own with the app robot in it."""
    name = fresh("小组")
    assert scene.playground.act(platform="dingtalk", create=name)["ok"]
    return name


def _groups(scene: Scene) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = scene.playground.state(platform="dingtalk")["platforms"]["dingtalk"]["channels"]
    return found


@pytest.mark.parametrize("make", [a_channel, a_group])
def test_a_channel_subscribes_and_mutes(scene: Scene, make: Callable[[Scene], str]) -> None:
    """`subscribe` brings a project's cards to where it is typed, `mute` ends that; both are on record."""
    channel, project = make(scene), fresh("quiet")
    prefix = "/ship" if channel.startswith("#") else "@Shipmate"
    scene.tell(project, 1, "started")
    scene.ask(channel, f"{prefix} subscribe {project}", "🔔", project)
    scene.tell(project, 2, "started")
    scene.card(channel, f"{project} #2")
    assert scene.cards(channel, f"{project} #1") == []
    scene.ask(channel, f"{prefix} mute {project}", "🔕", project)
    scene.tell(project, 3, "started")
    scene.tell(project, 2, "finished", status="success")
    scene.card(channel, f"{project} #2", f"✅ {project} #2")  # a card that stands is kept true
    assert scene.cards(channel, f"{project} #3") == []
    assert [entry["verb"] for entry in scene.audited(2, project, "done")] == ["subscribe", "mute"]


def test_a_channel_subscribes_to_failures_alone(scene: Scene) -> None:
    """Milestones after the project's name say what opens a card; a word that is none is refused."""
    channel, project = a_channel(scene), fresh("quiet")
    scene.tell(project, 1, "started")
    scene.ask(channel, f"/ship subscribe {project} failed", "🔔")
    scene.tell(project, 2, "finished", status="success")
    scene.tell(project, 3, "finished", status="failed")
    scene.card(channel, f"{project} #3", "❌")
    assert scene.cards(channel, f"{project} #2") == []
    scene.ask(channel, f"/ship subscribe {project} sometimes", "Known milestones: started, finished, failed, fixed")


@pytest.mark.parametrize(
    ("make", "line", "person", "account", "refusal"),
    [
        (a_channel, "/ship subscribe {}", "bob", "slack:U024BOB0002", "You have no role here"),
        (a_channel, "/ship mute {}", "gita", "slack:U024GUEST04", "members of this workspace only"),
        (a_channel, "/ship mute {}", "sam", "slack:U0PARTNER05", "members of this workspace only"),
        (a_group, "@Shipmate 静音 {}", "李雷", "dingtalk:lilei0017", "🔒"),
    ],
)
def test_who_may_not_is_told_and_nothing_changes(
    scene: Scene, make: Callable[[Scene], str], line: str, person: str, account: str, refusal: str
) -> None:
    """People without the role, guests and people of other workspaces get a sentence, and an audit entry."""
    channel, project = make(scene), fresh("web")
    scene.tell(project, 1, "started")
    scene.ask(channel, line.format(project), refusal, as_=person)
    [entry] = scene.audited(1, account, project)
    assert entry["outcome"].startswith("refused:")
    scene.tell(project, 2, "started")
    scene.card(CI, f"{project} #2")
    assert scene.cards(channel, f"{project} #2") == []


def test_here_says_what_to_write_into_the_configuration(scene: Scene) -> None:
    """`here` shows the place's id, and the name that the configuration has for it."""
    assert "C024CI00001" in scene.ask(CI, "/ship here", "📍", "C024CI00001", "ci")
    scene.ask(DEV_GROUP, "@Shipmate 这里", "📍", world.DINGTALK_GROUP, "dev-group")
    group = a_group(scene)
    said = scene.ask(group, "@Shipmate here", "📍", "destinations:")
    [place] = [one["id"] for name, one in _groups(scene).items() if name == group]
    assert yaml.safe_load(said[said.index("destinations:") :]) == {
        "destinations": {"my-team": {"dingtalk": {"group": place}}}
    }


def test_whoami_names_the_account_and_its_roles(scene: Scene) -> None:
    """A person sees how the configuration can name them, and what they may do."""
    scene.ask(CI, "/ship whoami", "slack:U024ALICE01", "alice@example.com", "deployer", "retry")
    scene.ask(CI, "/ship whoami", "slack:U024BOB0002", "none", as_="bob")
    scene.ask(DEV_GROUP, "@Shipmate 我是谁", "张敏", "dingtalk:manager4220", "deployer")


def test_accounts_of_two_platforms_become_one_person(scene: Scene) -> None:
    """A group asks for the code; it is said in a one-to-one conversation, and so is that it was typed in Slack."""
    group = a_group(scene)
    assert scene.say(group, "@Shipmate 绑定", "李雷")["ok"]

    def said_to_him() -> list[str]:
        channels = scene.playground.state(platform="dingtalk")["platforms"]["dingtalk"]["channels"].values()
        return [one["text"] for place in channels if place["person"] for one in place["messages"]]

    def code() -> str | None:
        found = [match[1] for text in said_to_him() if (match := re.search(r"绑定 (\w{4}-\w{4})", text))]
        return found[-1] if found else None

    found = scene.eventually(code, "a code for 李雷 alone")
    assert found
    assert found not in str(scene.messages(group))
    scene.ask(CI, f"/ship link {found}", "dingtalk:lilei0017", "one person", as_="bob")
    scene.eventually(lambda: any("解绑 slack:U024BOB0002" in text for text in said_to_him()), "what 李雷 hears of it")
    scene.ask(group, "@Shipmate 我是谁", "slack:U024BOB0002", as_="李雷")
    scene.ask(CI, f"/ship link {found}", "That is no code of mine", as_="bob")
    scene.ask(CI, "/ship unlink", "on its own again", as_="bob")


def test_an_invitation_is_answered(scene: Scene) -> None:
    """Who invites the bot into a channel reads what it can do and how to find the channel's id."""
    name = f"#{fresh('new')}"
    scene.playground.act(platform="slack", create=name, bot=False)
    assert scene.playground.act(platform="slack", channel=name, invite=True, as_="bob")["ok"]
    scene.said(name, "Hello, I am Shipmate", "/ship here", "/ship status", "retry <project>#<number>")


def test_a_mention_works_like_the_slash_command(scene: Scene) -> None:
    """`@Shipmate status` is answered to the asker alone."""
    before = scene.whispers()
    scene.say(CI, "@Shipmate help", "alice")
    scene.whisper(ALICE, "What I can do", since=before)


def test_a_direct_message_works_like_the_slash_command(scene: Scene) -> None:
    """In a conversation with the bot no mention is needed, on both platforms."""
    for platform, person, place, words in (
        ("slack", "bob", "@bob", "What I can do"),
        ("dingtalk", "李雷", "@李雷", "@Shipmate 状态"),
    ):
        scene.playground.act(platform=platform, direct=True, as_=person, say="help" if platform == "slack" else "帮助")

        def answers(platform: str = platform, words: str = words) -> list[str]:
            channels = scene.playground.state(platform=platform)["platforms"][platform]["channels"]
            direct = [one for one in channels.values() if one["person"]]
            return [said["text"] for one in direct for said in one["messages"] if words in said["text"]]

        scene.eventually(answers, f"an answer in {place}")


def test_bots_and_its_own_words_are_not_heard(scene: Scene) -> None:
    """Another bot's mention and the bot's own messages make no command and no answer."""
    before = scene.counted()["commands"]
    scene.say(CI, "@Shipmate status", "deploybot")
    scene.playground.act(platform="slack", direct=True, as_="deploybot", say="status")
    after = scene.whispers()
    scene.say(CI, "@Shipmate whoami", "alice")
    scene.whisper(ALICE, "slack:U024ALICE01", since=after)
    assert scene.counted()["commands"] == before + 1
    account = "U024OTHERBT"
    heard = scene.playground.state(platform="slack")["platforms"]["slack"]["ephemeral"]
    assert not any("How things stand" in one["text"] for one in heard if one["to_id"] == account)


def test_a_sent_again_envelope_is_answered_once(scene: Scene) -> None:
    """Both platforms send again what they believe lost; the same line is not done twice."""
    project = fresh("web")
    scene.tell(project, 1, "started")
    scene.ask(CI, f"/ship mute {project}", "🔕")
    assert scene.playground.act(platform="slack", redeliver=True)["ok"]
    scene.ask(DEV_GROUP, f"@Shipmate 静音 {project}", "🔕")
    assert scene.playground.act(platform="dingtalk", redeliver=True)["ok"]
    scene.all_answered()
    scene.audited(2, "mute", project)
