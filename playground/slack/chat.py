"""Web API methods that write and read messages: chat.*, conversations.history and replies, reactions.add."""

import json
import secrets
from itertools import islice

from playground import world
from playground.options import Json
from playground.slack import blocks as rules
from playground.slack.call import Call, Method, SlackError
from playground.slack.store import Place, Post

_TEXT_KEPT = 40_000


def content_of(call: Call) -> Json:
    """The checked `text`, `blocks`, `attachments` of a call; only the keys that it gave.

    Raises SlackError as Slack would, naming the blocks that it refuses.
    """
    found: Json = {}
    text = call.arguments.get("text")
    markdown = call.text("markdown_text")
    if markdown:
        if text or call.arguments.get("blocks"):
            raise SlackError("markdown_text_conflict")
        found["text"] = markdown
    elif text is not None:
        found["text"] = str(text)
    for key, error in (("blocks", "invalid_blocks_format"), ("attachments", "invalid_attachments")):
        value = call.json(key, error)
        if value is not None:
            found[key] = value
    check_content(found, call.method)
    return found


def check_content(content: Json, method: str = "chat.postMessage") -> None:
    """Refuse blocks and attachments that break a limit."""
    if "blocks" in content and not isinstance(content["blocks"], list):
        raise SlackError("invalid_blocks_format")
    attachments = content.get("attachments", [])
    if isinstance(attachments, list) and len(attachments) > rules.ATTACHMENTS:
        raise SlackError("too_many_attachments")
    problems = rules.message_problems(content["blocks"]) if content.get("blocks") else []
    problems += rules.attachment_problems(attachments)
    if problems:
        raise SlackError("invalid_blocks", [one.line() for one in problems])
    if method != "chat.postMessage" and len(content.get("text", "")) > _TEXT_KEPT:
        raise SlackError("msg_too_long")
    for block in _blocks_of(content):
        give_ids(block)


def _blocks_of(content: Json) -> list[Json]:
    return [
        *content.get("blocks", []),
        *(one for each in content.get("attachments", []) for one in each.get("blocks") or []),
    ]


def give_ids(block: Json) -> None:
    """Name the block and its controls where the caller has not."""
    block.setdefault("block_id", secrets.token_urlsafe(4))
    elements = list(block.get("elements", [])) if block.get("type") == "actions" else []
    elements += [block[key] for key in ("accessory", "element") if isinstance(block.get(key), dict)]
    for element in elements:
        if element.get("type") != "image":
            element.setdefault("action_id", secrets.token_urlsafe(4))


def has_content(content: Json) -> bool:
    """Whether there is anything to show."""
    return bool(content.get("text", "").strip() or content.get("blocks") or content.get("attachments"))


def _metadata(call: Call) -> Json | None:
    given = call.json("metadata", "invalid_metadata_format")
    if given is None or given == {}:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("event_type"), str):
        raise SlackError("invalid_metadata_format")
    if not isinstance(given.get("event_payload"), dict):
        raise SlackError("invalid_metadata_schema")
    if len(json.dumps(given)) > 16_000:
        raise SlackError("metadata_too_large")
    return given


def _writable(place: Place) -> Place:
    if place.is_archived:
        raise SlackError("is_archived")
    if not place.has_bot:
        raise SlackError("not_in_channel")
    return place


def post_message(call: Call) -> Json:
    """chat.postMessage"""
    place = _writable(call.place(by_name=True))
    content = content_of(call)
    if not has_content(content):
        raise SlackError("no_text")
    thread_ts = call.text("thread_ts") or None
    if thread_ts and thread_ts not in place.index:
        raise SlackError("cannot_reply_to_message")
    metadata = _metadata(call)
    text = content.get("text", "")
    post = call.slack.post(place, call.slack.bot, content | {"text": text[:_TEXT_KEPT]}, thread_ts, metadata)
    message = post.wire() | ({"metadata": metadata} if metadata else {})
    answer: Json = {"ok": True, "channel": place.id, "ts": post.ts, "message": message}
    if len(text) > _TEXT_KEPT:
        answer |= {"warning": "message_truncated", "response_metadata": {"warnings": ["message_truncated"]}}
    return answer


def update(call: Call) -> Json:
    """chat.update: blocks go when only text is given, attachments and metadata stay unless given."""
    place = call.place()
    post = place.index.get(call.text("ts"))
    if post is None or post.subtype == "tombstone":
        raise SlackError("message_not_found")
    if post.author.id != world.SLACK_BOT_USER or post.subtype:
        raise SlackError("cant_update_message")
    _writable(place)
    content = content_of(call)
    if not has_content(content):
        raise SlackError("no_text")
    if "metadata" in call.arguments:
        post.metadata = _metadata(call)
    call.slack.edit(post, content)
    return {"ok": True, "channel": place.id, "ts": post.ts, "text": post.text, "message": post.wire()}


def delete(call: Call) -> Json:
    """chat.delete"""
    place = call.place()
    post = place.index.get(call.text("ts"))
    if post is None or post.subtype == "tombstone":
        raise SlackError("message_not_found")
    if post.author.id != world.SLACK_BOT_USER:
        raise SlackError("cant_delete_message")
    call.slack.delete(post)
    return {"ok": True, "channel": place.id, "ts": post.ts}


def post_ephemeral(call: Call) -> Json:
    """chat.postEphemeral"""
    place = _writable(call.place(by_name=True))
    if call.text("user") not in place.members:
        raise SlackError("user_not_in_channel")
    content = content_of(call)
    if not has_content(content):
        raise SlackError("no_text")
    post = call.slack.whisper(place, call.text("user"), content, call.text("thread_ts") or None)
    return {"ok": True, "message_ts": post.ts}


def permalink(call: Call) -> Json:
    """chat.getPermalink"""
    place = call.place()
    ts = call.text("message_ts")
    if ts not in place.index:
        raise SlackError("message_not_found")
    url = f"{call.slack.public_url}/#slack/{place.name.lstrip('#@')}/p{ts.replace('.', '')}"
    return {"ok": True, "channel": place.id, "permalink": url}


def _read(post: Post, *, with_metadata: bool) -> Json:
    message = post.wire()
    if post.replies:
        message |= {"reply_count": len(post.replies), "latest_reply": post.replies[-1].ts, "thread_ts": post.ts}
        message["reply_users"] = sorted({one.author.id for one in post.replies})
    if with_metadata and post.metadata:
        message["metadata"] = post.metadata
    return message


def _bounds(call: Call) -> tuple[float, float]:
    bounds = []
    for key, default in (("oldest", "0"), ("latest", "9999999999")):
        try:
            bounds.append(float(call.text(key) or default))
        except ValueError:
            raise SlackError(f"invalid_ts_{key}") from None
    return bounds[0], bounds[1]


def _page(call: Call, posts: list[Post]) -> Json:
    oldest, latest = _bounds(call)
    if call.flag("inclusive"):
        posts = [one for one in posts if oldest <= float(one.ts) <= latest]
    else:
        posts = [one for one in posts if oldest < float(one.ts) < latest]
    limit = call.number("limit", 100, 999)
    start = cursor_of(call, len(posts))
    shown = list(islice(posts, start, start + limit))
    with_metadata = call.flag("include_all_metadata")
    has_more = start + limit < len(posts)
    return {
        "ok": True,
        "messages": [_read(one, with_metadata=with_metadata) for one in shown],
        "has_more": has_more,
        "response_metadata": {"next_cursor": f"next:{start + limit}" if has_more else ""},
    }


def cursor_of(call: Call, most: int) -> int:
    """Where a page starts; cursors are ours, and anything else is refused."""
    cursor = call.text("cursor")
    if not cursor:
        return 0
    kind, _, number = cursor.partition(":")
    if kind != "next" or not number.isdigit() or int(number) > most:
        raise SlackError("invalid_cursor")
    return int(number)


def history(call: Call) -> Json:
    """conversations.history: newest first, without thread replies."""
    place = call.place()
    if not place.has_bot:
        raise SlackError("not_in_channel")
    return _page(call, list(reversed(place.posts.values()))) | {"pin_count": 0}


def replies(call: Call) -> Json:
    """conversations.replies: the parent, then its replies, oldest first."""
    place = call.place()
    if not place.has_bot:
        raise SlackError("channel_not_found")
    post = place.index.get(call.text("ts"))
    if post is None:
        raise SlackError("thread_not_found")
    parent = place.index.get(post.thread_ts or post.ts, post)
    page = _page(call, parent.replies)
    return page | {"messages": [_read(parent, with_metadata=call.flag("include_all_metadata")), *page["messages"]]}


def add_reaction(call: Call) -> Json:
    """reactions.add"""
    place = call.place()
    post = place.index.get(call.text("timestamp"))
    if post is None:
        raise SlackError("message_not_found")
    name = call.text("name").strip(":")
    if not name:
        raise SlackError("invalid_name")
    users = post.reactions.setdefault(name, [])
    if world.SLACK_BOT_USER in users:
        raise SlackError("already_reacted")
    users.append(world.SLACK_BOT_USER)
    call.store.changed(post)
    call.slack.hub.touch()
    return {"ok": True}


METHODS: dict[str, Method] = {
    "chat.postMessage": post_message,
    "chat.update": update,
    "chat.delete": delete,
    "chat.postEphemeral": post_ephemeral,
    "chat.getPermalink": permalink,
    "conversations.history": history,
    "conversations.replies": replies,
    "reactions.add": add_reaction,
}
