"""How Slack's payloads become commands."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from bot.errors import OutcomeUnknown, PayloadInvalid, Unavailable
from handlers.slack_payloads import Own, Translator, clean
from tests.handlers.slack_fakes import FakeClock, command, event, press


@pytest.fixture
def translator() -> Translator:
    """One that knows nothing yet of who we are."""
    return Translator(Own(), FakeClock())


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("<@UBOT> status", "status"),
        ("  <@UBOT>: status ", "status"),
        ("<@UBOT|shipmate>, 状态", "状态"),
        ("<@UBOT>重试 user-service#12", "重试 user-service#12"),
        ("<@UBOT> <@UBOT>\u00a0status", "status"),
        ("status <@UBOT>", "status"),
        ("<@UBOT>", ""),
        ("<@UBOT> run app url=<https://example.com/a&amp;b>", "run app url=https://example.com/a&b"),
        ("<@UBOT> builds <http://example.com|example.com>", "builds example.com"),
        ("<@UBOT> mute <#C123|general>", "mute #general"),
        ("<@UBOT> mute <#C123|>", "mute #C123"),
        ("<@UBOT> show &lt;x&gt; &amp;amp; y", "show <x> &amp; y"),
        ("<@UBOT> run app who=<@U2|bob> <!here> <!subteam^S1|@ops>", "run app who=@bob @here @ops"),
        ("<@UBOT> run app who=<@U2>", "run app who=<@U2>"),
    ],
)
def test_words_arrive_as_they_were_meant(said: str, typed: str) -> None:
    """Our name and Slack's markup around links, channels and signs are gone."""
    assert clean(said, "UBOT") == typed


def test_leading_names_go_where_ours_is_unknown() -> None:
    """Before we know our own id, what stands in front is taken for it."""
    assert clean("<@U0THER> status <@U2>", "") == "status <@U2>"


def test_a_mention_is_answered_to_the_asker_in_the_thread(translator: Translator) -> None:
    """Who asks in a thread is answered there."""
    heard = translator.of_mention(event("app_mention", text="<@UBOT> status", thread_ts="9.9"))
    assert heard is not None
    reply_to = heard.reply_to
    assert (heard.typed, heard.dedup_key, reply_to.place) == ("status", "slack:event:Ev1", "slack:T1/C1")
    assert (reply_to.thread, reply_to.is_private, reply_to.url) == ("9.9", True, None)


def test_an_edited_mention_is_heard_again_only_where_it_says_something_else(translator: Translator) -> None:
    """Slack tells of each edit as a new event: a command must not be carried out once more for a comma."""

    def key(event_id: str, **fields: Any) -> str:
        heard = translator.of_mention(event("app_mention", event_id=event_id, **{"ts": "100.1"} | fields))
        assert heard is not None
        return heard.dedup_key

    edited = {"user": "U1", "ts": "105.0"}
    first = key("Ev1", text="<@UBOT> retry app#1")
    assert key("Ev2", text="<@UBOT>, retry  app#1", edited=edited) == first
    assert key("Ev3", text="<@UBOT> retry app#2", edited=edited) != first
    assert key("Ev4", text="<@UBOT> retry app#1", ts="200.2") != first
    assert key("Ev5", text="<@UBOT> retry app#1", channel="C2") != first


def test_a_direct_message_is_answered_plainly(translator: Translator) -> None:
    """In a direct conversation there is nobody to hide an answer from."""
    heard = translator.of_message(event("message", channel="D1", channel_type="im", text="<@UBOT> status"))
    assert heard is not None
    assert (heard.typed, heard.reply_to.place, heard.reply_to.is_private) == ("status", "slack:T1/D1", False)


@pytest.mark.parametrize(
    "fields",
    [
        {"channel_type": "channel"},
        {"channel_type": "mpim"},
        {"subtype": "message_changed"},
        {"subtype": "bot_message"},
        {"subtype": "file_share"},
        {"bot_id": "B1"},
        {"bot_profile": {"id": "B1"}},
        {"user": "UBOT"},
        {"user": ""},
        {"text": " "},
    ],
)
def test_other_messages_are_not_for_us(translator: Translator, fields: dict[str, Any]) -> None:
    """Edits, files, bots, channels and our own words are no commands."""
    said = {"channel": "D1", "channel_type": "im", "text": "status"} | fields
    assert translator.of_message(event("message", **said)) is None


def test_our_own_mention_of_ourselves_is_no_command(translator: Translator) -> None:
    """We do not talk to ourselves."""
    assert translator.of_mention(event("app_mention", user="UBOT", text="<@UBOT> status")) is None


@pytest.mark.parametrize("fields", [{"bot_id": "B1"}, {"bot_profile": {"id": "B1"}}, {"subtype": "bot_message"}])
def test_a_bots_mention_is_no_command(translator: Translator, fields: dict[str, Any]) -> None:
    """Two bots that answer each other would never end."""
    assert translator.of_mention(event("app_mention", text="<@UBOT> status", **fields)) is None


def test_our_arrival_greets_in_the_name_of_who_invited_us(translator: Translator) -> None:
    """The channel sees what we can do."""
    heard = translator.of_joined(event("member_joined_channel", user="UBOT", inviter="U1"))
    assert heard is not None
    assert (heard.typed, heard.actor.account, heard.reply_to.is_private) == ("help welcome", "slack:U1", False)


@pytest.mark.parametrize("fields", [{"user": "U2", "inviter": "U1"}, {"user": "UBOT"}])
def test_other_arrivals_greet_nobody(translator: Translator, fields: dict[str, str]) -> None:
    """Neither another person's arrival nor one that nobody stands for."""
    assert translator.of_joined(event("member_joined_channel", **fields)) is None


@pytest.mark.parametrize(
    ("fields", "is_outsider"),
    [({}, False), ({"user_team": "T2"}, True), ({"team": "T2"}, True)],
)
def test_strangers_are_outsiders(translator: Translator, fields: dict[str, str], is_outsider: bool) -> None:
    """Whoever is not of this workspace is marked as such where they speak."""
    heard = translator.of_mention(event("app_mention", text="<@UBOT> status", **fields))
    assert heard is not None
    assert heard.actor.is_outsider is is_outsider


@pytest.mark.parametrize(
    ("team", "wrapper"),
    [
        ("E1", {}),
        ("T2", {"enterprise_id": "E1"}),
        ("T2", {"authorizations": [{"team_id": "T1", "enterprise_id": "E1"}]}),
    ],
)
def test_whose_member_somebody_of_an_organisation_is_the_directory_tells(
    translator: Translator, team: str, wrapper: dict[str, Any]
) -> None:
    """Members of our workspace may speak from another one of their Enterprise organisation."""
    translator.of_mention(event("app_mention", text="<@UBOT> hi"))
    heard = translator.of_mention(event("app_mention", text="<@UBOT> status", user_team=team) | wrapper)
    assert heard is not None
    assert not heard.actor.is_outsider
    asked = translator.of_command(command(team_id="T2", enterprise_id="E1"))
    pressed = translator.of_press(press() | {"team": {"id": "T2"}, "enterprise": {"id": "E1"}})
    assert pressed is not None
    assert (asked.actor.is_outsider, pressed.actor.is_outsider) == (False, False)


def test_a_strangers_command_is_answered_in_our_workspace(translator: Translator) -> None:
    """Once we know who we are, a shared channel keeps its one place and its guests are outsiders."""
    translator.of_mention(event("app_mention", text="<@UBOT> hi"))
    heard = translator.of_command(command(team_id="T2"))
    assert (heard.actor.is_outsider, heard.actor.team, heard.reply_to.place) == (True, "T2", "slack:T1/C1")


def test_a_strangers_press_is_an_outsiders(translator: Translator) -> None:
    """A press says of itself whose workspace it was made in."""
    pressed = press()
    pressed["user"]["team_id"] = "T2"
    heard = translator.of_press(pressed)
    assert heard is not None
    assert (heard.actor.is_outsider, heard.reply_to.place) == (True, "slack:T1/C1")


def test_a_press_in_a_thread_is_answered_there(translator: Translator) -> None:
    """The answer stands where the button stands."""
    pressed = press()
    pressed["container"]["thread_ts"] = "9.9"
    heard = translator.of_press(pressed)
    assert heard is not None
    assert (heard.reply_to.thread, heard.reply_to.is_private) == ("9.9", True)


def test_a_press_in_a_window_is_answered_directly(translator: Translator) -> None:
    """A window stands in no channel: the direct conversation takes the answer."""
    pressed: dict[str, Any] = press() | {"container": {"type": "view", "view_id": "V7"}}
    del pressed["channel"], pressed["response_url"]
    heard = translator.of_press(pressed)
    assert heard is not None
    assert (heard.reply_to.place, heard.reply_to.is_private) == ("slack:T1/U1", False)
    assert heard.dedup_key == "slack:press:T1::V7:ship:retry:200.2:U1"


@pytest.mark.parametrize("trouble", [Unavailable("slack", "unreachable"), OutcomeUnknown("slack", "not_json")])
def test_a_slack_that_is_away_is_asked_again_later(trouble: Exception) -> None:
    """That Slack does not say who we are is no failure of the command, and the next one asks again."""
    own, web = Own(), Mock()
    web.auth_test.side_effect = [trouble, {"team_id": "T1", "user_id": "UBOT"}]
    own.ask(web)
    assert not own.is_known
    own.ask(web)
    assert (own.team, own.user) == ("T1", "UBOT")


@pytest.mark.parametrize("missing", ["user_id", "channel_id", "trigger_id"])
def test_a_command_without_its_ids_makes_no_sense(translator: Translator, missing: str) -> None:
    """What cannot be answered or told apart is refused."""
    with pytest.raises(PayloadInvalid, match=missing):
        translator.of_command(command(**{missing: ""}))


@pytest.mark.parametrize("half", ["\ud83d", "\x00"])
def test_half_a_sign_is_replaced_in_words_and_refused_in_ids(translator: Translator, half: str) -> None:
    """JSON can hold what no database stores: words stay readable, an id that is not one is refused."""
    heard = translator.of_mention(event("app_mention", text=f"<@UBOT> status {half}x"))
    assert heard is not None
    assert heard.typed == "status \ufffdx"
    assert translator.of_command(command(text=f"status {half}x", user_name=half)).typed == "status \ufffdx"
    pressed = translator.of_press(press(f"retry {half}#1"))
    assert pressed is not None
    assert pressed.typed == "retry \ufffd#1"
    for body in (command(user_id=f"U{half}"), command(trigger_id=half), command(response_url=half)):
        with pytest.raises(PayloadInvalid, match="Unicode"):
            translator.of_command(body)
