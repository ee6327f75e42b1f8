"""The Web API through slack_sdk: shapes, errors, tokens, rates."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from playground import world
from playground.server import Playground
from tests.playground.clients import web_client

CI, RANDOM = "C024CI00001", "C024RANDOM3"


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """The error that a call is refused with."""
    with pytest.raises(SlackApiError) as caught:
        call(**arguments)
    return str(caught.value.response["error"])


def test_posts_edits_and_deletes_a_message(playground: Playground, slack: WebClient) -> None:
    """A message keeps its id through an edit, counts it, and is gone after deletion."""
    posted = slack.chat_postMessage(channel="#ci", text="*one* for <@U024ALICE01> &amp; <#C024CI00001>")
    assert posted["channel"] == CI
    [shown] = playground.client.messages("slack", "#ci")
    assert (shown["id"], shown["author"], shown["text"]) == (posted["ts"], "Shipmate", "one for @Alice & #ci")
    updated = slack.chat_update(channel=CI, ts=posted["ts"], text="two")
    assert updated["ts"] == posted["ts"]
    [shown] = playground.client.messages("slack", "#ci")
    assert (shown["text"], shown["edits"], shown["is_marked_edited"]) == ("two", 1, True)
    slack.chat_delete(channel=CI, ts=posted["ts"])
    assert playground.client.messages("slack", "#ci") == []


def test_update_keeps_attachments_and_drops_blocks(playground: Playground, slack: WebClient) -> None:
    """Text alone in an update takes blocks away and leaves attachments, as Slack documents."""
    block = {"type": "section", "text": {"type": "mrkdwn", "text": "block"}}
    posted = slack.chat_postMessage(
        channel=CI, text="x", blocks=[block], attachments=[{"color": "good", "text": "att"}]
    )
    assert playground.client.messages("slack", "#ci")[0]["text"] == "block\natt"
    slack.chat_update(channel=CI, ts=posted["ts"], text="plain")
    assert playground.client.messages("slack", "#ci")[0]["text"] == "plain\natt"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"channel": "C0NOWHERE", "text": "x"}, "channel_not_found"),
        ({"channel": "#random", "text": "x"}, "not_in_channel"),
        ({"channel": "#ci", "text": "x", "blocks": [{"type": "header"}]}, "invalid_blocks"),
        ({"channel": "#ci", "text": "x", "attachments": [{"text": "a"}] * 101}, "too_many_attachments"),
        ({"channel": "#ci", "text": "x", "markdown_text": "y"}, "markdown_text_conflict"),
        ({"channel": "#ci", "text": "x", "thread_ts": "1.000001"}, "cannot_reply_to_message"),
        ({"channel": "#ci", "text": "x", "metadata": {"event_type": "t"}}, "invalid_metadata_schema"),
    ],
)
def test_refuses_messages_as_slack_does(
    playground: Playground, slack: WebClient, arguments: dict[str, Any], error: str
) -> None:
    """Each mistake gets Slack's error and shows nothing."""
    assert refusal(slack.chat_postMessage, **arguments) == error
    assert refusal(slack.api_call, api_method="chat.postMessage", json={"channel": CI}) == "no_text"
    assert playground.client.messages("slack", "#ci") == []


def test_refuses_updates_of_what_is_not_ours(playground: Playground, slack: WebClient) -> None:
    """Unknown, deleted and other people's messages cannot be edited; neither can those of an archived channel."""
    posted = slack.chat_postMessage(channel=CI, text="x")
    said = playground.act(platform="slack", channel="#ci", as_="alice", say="hello")["message"]["id"]
    assert refusal(slack.chat_update, channel=CI, ts="1.000001", text="y") == "message_not_found"
    assert refusal(slack.chat_update, channel=CI, ts=said, text="y") == "cant_update_message"
    assert refusal(slack.chat_update, channel="#ci", ts=posted["ts"], text="y") == "channel_not_found"
    playground.act(platform="slack", channel="#ci", delete=posted["ts"])
    assert refusal(slack.chat_update, channel=CI, ts=posted["ts"], text="y") == "message_not_found"
    playground.act(platform="slack", channel="#ci", archive=True)
    assert refusal(slack.chat_postMessage, channel=CI, text="y") == "is_archived"


def test_checks_tokens(start: Callable[..., Playground]) -> None:
    """A missing, wrong, misplaced or revoked token and a missing scope are each named."""
    playground = start(slack_scopes=("chat:write",))
    assert requests.post(f"{playground.url}/slack/api/auth.test", timeout=30).json()["error"] == "not_authed"
    assert refusal(web_client(playground, "xoxb-other").auth_test) == "invalid_auth"
    assert refusal(web_client(playground, world.SLACK_APP_TOKEN).auth_test) == "not_allowed_token_type"
    slack = web_client(playground)
    assert slack.auth_test()["user_id"] == world.SLACK_BOT_USER
    with pytest.raises(SlackApiError) as caught:
        slack.conversations_list()
    assert caught.value.response.data == {
        "ok": False,
        "error": "missing_scope",
        "needed": "channels:read",
        "provided": "chat:write",
    }
    playground.client.options(slack_token_revoked=True)
    assert refusal(slack.auth_test) == "token_revoked"


def test_paces_messages_per_channel(playground: Playground, slack: WebClient) -> None:
    """A burst of three passes, the fourth waits for Retry-After, and another channel has a budget of its own."""
    for _ in range(3):
        slack.chat_postMessage(channel=CI, text="x")
    with pytest.raises(SlackApiError) as caught:
        slack.chat_postMessage(channel="#ci", text="x")
    assert caught.value.response.status_code == 429
    assert int(caught.value.response.headers["Retry-After"]) >= 1
    assert caught.value.response["error"] == "ratelimited"
    slack.chat_postMessage(channel="#deploys", text="x")
    playground.client.options(budgets=False)
    slack.chat_postMessage(channel=CI, text="x")


def test_paces_updates_per_workspace(slack: WebClient) -> None:
    """chat.update is tier 3: fifty a minute over all channels."""
    posted = slack.chat_postMessage(channel=CI, text="x")
    for number in range(50):
        slack.chat_update(channel=CI, ts=posted["ts"], text=str(number))
    assert refusal(slack.chat_update, channel=CI, ts=posted["ts"], text="y") == "ratelimited"


def test_history_returns_metadata_pages_and_threads(slack: WebClient) -> None:
    """conversations.history finds a message by its metadata, newest first, by pages and without replies."""
    metadata = {"event_type": "attempt", "event_payload": {"id": "a1"}}
    first = slack.chat_postMessage(channel=CI, text="first", metadata=metadata)["ts"]
    second = slack.chat_postMessage(channel=CI, text="second")["ts"]
    reply = slack.chat_postMessage(channel=CI, text="reply", thread_ts=first)["ts"]
    page = slack.conversations_history(channel=CI, limit=1)
    assert [one["ts"] for one in page["messages"]] == [second]
    cursor = page["response_metadata"]["next_cursor"]
    rest = slack.conversations_history(channel=CI, limit=1, cursor=cursor, include_all_metadata=True)
    assert [one["ts"] for one in rest["messages"]] == [first]
    assert rest["messages"][0]["metadata"] == metadata
    assert rest["messages"][0]["reply_count"] == 1
    assert "metadata" not in slack.conversations_history(channel=CI)["messages"][1]
    thread = slack.conversations_replies(channel=CI, ts=first)
    assert [one["ts"] for one in thread["messages"]] == [first, reply]
    assert slack.conversations_history(channel=CI, oldest=first)["messages"][0]["ts"] == second
    inclusive = slack.conversations_history(channel=CI, oldest=first, latest=first, inclusive=True)
    assert [one["ts"] for one in inclusive["messages"]] == [first]
    assert refusal(slack.conversations_history, channel=RANDOM) == "not_in_channel"


def test_a_deleted_parent_leaves_a_stub(playground: Playground, slack: WebClient) -> None:
    """A deleted message with replies stays as a stub that cannot be edited, and its thread goes on."""
    parent = slack.chat_postMessage(channel=CI, text="parent")["ts"]
    slack.chat_postMessage(channel=CI, text="reply", thread_ts=parent)
    playground.act(platform="slack", channel="#ci", delete=parent)
    assert refusal(slack.chat_update, channel=CI, ts=parent, text="x") == "message_not_found"
    slack.chat_postMessage(channel=CI, text="more", thread_ts=parent)
    [shown] = playground.client.messages("slack", "#ci")
    assert (shown["text"], len(shown["thread"])) == ("This message was deleted.", 2)


def test_tells_who_is_who(slack: WebClient) -> None:
    """Guests, strangers and bots are marked; channels and direct conversations can be found."""
    assert slack.users_info(user="U024GUEST04")["user"]["is_restricted"] is True
    stranger = slack.users_info(user="U0PARTNER05")["user"]
    assert (stranger["is_stranger"], stranger["team_id"]) == (True, world.SLACK_OTHER_TEAM)
    assert slack.users_info(user="U024OTHERBT")["user"]["is_bot"] is True
    assert slack.users_lookupByEmail(email="alice@example.com")["user"]["id"] == "U024ALICE01"
    assert refusal(slack.users_lookupByEmail, email="nobody@example.com") == "users_not_found"
    assert refusal(slack.users_info, user="U0") == "user_not_found"
    names = {one["name"]: one["is_member"] for one in slack.conversations_list()["channels"]}
    assert names == {"ci": True, "deploys": True, "random": False}
    assert [one["name"] for one in slack.users_conversations()["channels"]] == ["ci", "deploys"]
    assert slack.conversations_join(channel=RANDOM)["channel"]["is_member"] is True
    direct = slack.conversations_open(users="U024BOB0002")["channel"]["id"]
    slack.chat_postMessage(channel="U024BOB0002", text="hi")
    assert slack.conversations_history(channel=direct)["messages"][0]["text"] == "hi"


def test_ephemeral_messages_reach_one_person(playground: Playground, slack: WebClient) -> None:
    """An ephemeral message is shown to one member, stands in no history and cannot be edited."""
    slack.chat_postEphemeral(channel=CI, user="U024ALICE01", text="psst")
    state = playground.state(platform="slack")["platforms"]["slack"]
    [shown] = state["ephemeral"]
    assert (shown["to"], shown["channel"], shown["text"]) == ("Alice", "#ci", "psst")
    assert state["channels"]["#ci"]["messages"] == []
    assert refusal(slack.chat_update, channel=CI, ts=shown["id"], text="x") == "message_not_found"
    assert refusal(slack.chat_postEphemeral, channel=CI, user="U0", text="x") == "user_not_in_channel"


def test_reactions_and_permalinks(slack: WebClient) -> None:
    """A reaction counts once, and a permalink leads to the page."""
    ts = slack.chat_postMessage(channel=CI, text="x")["ts"]
    slack.reactions_add(channel=CI, timestamp=ts, name="eyes")
    assert refusal(slack.reactions_add, channel=CI, timestamp=ts, name="eyes") == "already_reacted"
    link = slack.chat_getPermalink(channel=CI, message_ts=ts)["permalink"]
    assert link.endswith(f"/#slack/ci/p{ts.replace('.', '')}")


def test_long_texts_are_cut_with_a_warning(slack: WebClient) -> None:
    """A text of more than 40,000 characters is posted, cut, and warned of."""
    answer = slack.chat_postMessage(channel=CI, text="x" * 40_001)
    assert (answer["warning"], len(answer["message"]["text"])) == ("message_truncated", 40_000)


def test_takes_forms_as_well_as_json(playground: Playground) -> None:
    """Arguments and token may come as a form, with JSON in strings."""
    blocks = json.dumps([{"type": "header", "text": {"type": "plain_text", "text": "Head"}}])
    form = {"token": world.SLACK_BOT_TOKEN, "channel": CI, "blocks": blocks}
    answer = requests.post(f"{playground.url}/slack/api/chat.postMessage", data=form, timeout=30)
    assert answer.json()["ok"] is True
    assert playground.client.messages("slack", "#ci")[0]["text"] == "Head"
    [call] = playground.calls(method="chat.postMessage")
    assert "token" not in call["arguments"]


def test_unknown_methods_are_named(slack: WebClient) -> None:
    """A method that the playground does not have is refused by name."""
    assert refusal(slack.pins_list, channel=CI) == "unknown_method"
