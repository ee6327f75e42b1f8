"""The payloads that Slack sends to an app, built from what a person did.

Key sets follow the samples of slackapi/java-slack-sdk (`json-logs`).
"""

import secrets
import time

from playground import world
from playground.options import Json
from playground.slack.store import Place, Post, View


def user(person: world.Person) -> Json:
    """The acting person."""
    return {"id": person.id, "username": person.handle, "name": person.handle, "team_id": person.team}


def _frame(kind: str, person: world.Person, trigger: str) -> Json:
    return {
        "type": kind,
        "user": user(person),
        "api_app_id": world.SLACK_APP,
        "token": world.SLACK_VERIFICATION_TOKEN,
        "trigger_id": trigger,
        "team": {"id": world.SLACK_TEAM, "domain": world.SLACK_TEAM_DOMAIN},
        "enterprise": None,
        "is_enterprise_install": False,
    }


def command(person: world.Person, place: Place, line: str, *, trigger: str, response_url: str) -> Json:
    """A slash command."""
    verb, _, rest = line.partition(" ")
    return {
        "token": world.SLACK_VERIFICATION_TOKEN,
        "team_id": person.team,
        "team_domain": world.SLACK_TEAM_DOMAIN,
        "channel_id": place.id,
        "channel_name": "directmessage" if place.person else place.name.lstrip("#"),
        "user_id": person.id,
        "user_name": person.handle,
        "command": verb,
        "text": rest.strip(),
        "api_app_id": world.SLACK_APP,
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": trigger,
    }


def message_action(
    person: world.Person, post: Post, action: Json, *, trigger: str, response_url: str, attachment: int | None
) -> Json:
    """A click (or choice) on a message."""
    is_ephemeral = post.visible_to is not None
    container: Json = {
        "type": "message",
        "message_ts": post.ts,
        "channel_id": post.place.id,
        "is_ephemeral": is_ephemeral,
    }
    if attachment is not None:
        container |= {"type": "message_attachment", "attachment_id": attachment, "is_app_unfurl": False}
    if post.thread_ts:
        container["thread_ts"] = post.thread_ts
    payload = _frame("block_actions", person, trigger) | {
        "container": container,
        "channel": {"id": post.place.id, "name": post.place.name.lstrip("#@")},
        "state": {"values": {}},
        "response_url": response_url,
        "actions": [action],
    }
    if not is_ephemeral:
        payload["message"] = post.wire()
    return payload


def view_action(person: world.Person, view: View, action: Json, *, trigger: str) -> Json:
    """A click (or choice) in a modal or on the Home tab."""
    return _frame("block_actions", person, trigger) | {
        "container": {"type": "view", "view_id": view.id},
        "view": view.wire(),
        "actions": [action],
    }


def submission(person: world.Person, view: View, *, trigger: str) -> Json:
    """A modal sent off."""
    return _frame("view_submission", person, trigger) | {"view": view.wire(), "response_urls": []}


def closed(person: world.Person, view: View, *, is_cleared: bool) -> Json:
    """A modal closed without being sent off."""
    payload = _frame("view_closed", person, "") | {"view": view.wire(), "is_cleared": is_cleared}
    del payload["trigger_id"]
    return payload


def action(block: Json, element: Json, chosen: Json) -> Json:
    """One entry of `actions`: the control and what was chosen with it."""
    entry: Json = {"action_id": element["action_id"], "block_id": block.get("block_id", ""), "type": element["type"]}
    for key in ("text", "value", "style", "placeholder"):
        if element.get(key) is not None:
            entry[key] = element[key]
    return entry | chosen | {"action_ts": f"{time.time():.6f}"}


def event(inner: Json) -> Json:
    """An Events API callback around an event."""
    return {
        "token": world.SLACK_VERIFICATION_TOKEN,
        "team_id": world.SLACK_TEAM,
        "context_team_id": world.SLACK_TEAM,
        "api_app_id": world.SLACK_APP,
        "event": inner,
        "type": "event_callback",
        "event_id": "Ev" + secrets.token_hex(5).upper(),
        "event_time": int(time.time()),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": world.SLACK_TEAM,
                "user_id": world.SLACK_BOT_USER,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
        "event_context": "4-" + secrets.token_hex(12),
    }


def said(kind: str, post: Post) -> Json:
    """What a person (or another bot) wrote, as `app_mention` or `message`."""
    inner: Json = {
        "type": kind,
        "user": post.author.id,
        "text": post.text,
        "ts": post.ts,
        "client_msg_id": secrets.token_hex(16),
        "team": post.author.team,
        "channel": post.place.id,
        "event_ts": post.ts,
    }
    if kind == "message":
        inner["channel_type"] = "im" if post.place.person else "channel"
    if post.thread_ts:
        inner["thread_ts"] = post.thread_ts
    if post.author.is_bot:
        inner |= {"bot_id": "B" + post.author.id[1:], "bot_profile": {"name": post.author.name}}
    if post.author.is_stranger:
        inner |= {"user_team": post.author.team, "source_team": post.author.team}
    return event(inner)


def joined(place: Place, inviter: str) -> Json:
    """The bot came into a channel."""
    return event(
        {
            "type": "member_joined_channel",
            "user": world.SLACK_BOT_USER,
            "channel": place.id,
            "channel_type": "C",
            "team": world.SLACK_TEAM,
            "inviter": inviter,
            "event_ts": f"{time.time():.6f}",
        }
    )
