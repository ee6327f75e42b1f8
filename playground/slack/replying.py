"""response_url: messages that answer one interaction, five at most within half an hour.

https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
"""

import time

from aiohttp import web

from playground.core import Answer, Incoming, json_object
from playground.options import Json
from playground.slack.call import SlackError
from playground.slack.chat import check_content, has_content
from playground.slack.platform import SlackPlatform
from playground.slack.store import ReplyUrl

_USES = 5


async def response_url(slack: SlackPlatform, request: web.Request) -> web.Response:
    """`POST /slack/actions/<team>/<number>/<secret>`"""
    path = request.match_info["path"]
    arguments = json_object(await request.read())
    found = slack.store.reply_urls.get(path)
    incoming = Incoming("slack", "response_url", found.place.name if found else "", arguments)
    return await slack.core.receive(request, incoming, lambda: _answer(slack, found, arguments), _throttled)


def _answer(slack: SlackPlatform, found: ReplyUrl | None, arguments: Json) -> Answer:
    if found is None or time.monotonic() > found.expires:
        return Answer({"ok": False, "error": "expired_url"}, 404)
    if found.uses >= _USES:
        return Answer({"ok": False, "error": "used_url"}, 404)
    try:
        _write(slack, found, arguments)
    except SlackError as error:
        return Answer(error.answer(), 400)
    found.uses += 1
    return Answer("ok")


def _write(slack: SlackPlatform, found: ReplyUrl, arguments: Json) -> None:
    post = found.post
    if arguments.get("delete_original") and post is not None:
        slack.delete(post)
        return
    check_content(arguments)
    if not has_content(arguments):
        raise SlackError("no_text")
    content: Json = {key: arguments[key] for key in ("text", "blocks", "attachments") if key in arguments}
    if arguments.get("replace_original") and post is not None:
        slack.edit(post, content)
    elif arguments.get("response_type") == "in_channel":
        slack.post(found.place, slack.bot, content, arguments.get("thread_ts"))
    else:
        slack.whisper(found.place, found.user, content, arguments.get("thread_ts"))


def _throttled(wait_s: int) -> Answer:
    return Answer({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": str(max(wait_s, 1))})
