"""Web API methods of uploads: a ticket, the bytes, and the share that people see.

https://docs.slack.dev/messaging/working-with-files#upload
"""

import mimetypes

from playground import world
from playground.options import Json
from playground.slack.call import Call, Method, SlackError
from playground.slack.store import File, Place

_ALT_TEXT = 1000
_LARGEST = 1024 * 1024 * 1024
_CHANNELS = 100


def upload_url(call: Call) -> Json:
    """files.getUploadURLExternal"""
    name, length = call.text("filename"), call.text("length")
    if not name or not length or length == "0":
        raise SlackError("missing_argument")
    if not length.isdigit():
        raise SlackError("invalid_arguments", ["[ERROR] `length` must be an integer"])
    if int(length) > _LARGEST:
        raise SlackError("file_upload_size_restricted")
    alt_text = call.text("alt_txt")
    if len(alt_text) > _ALT_TEXT:
        raise SlackError("alt_txt_too_large")
    ticket, file = call.store.new_ticket(name, int(length), alt_text)
    return {"ok": True, "upload_url": f"{call.slack.public_url}/slack/upload/{ticket}", "file_id": file.id}


def complete(call: Call) -> Json:
    """files.completeUploadExternal: without a channel the files stay private."""
    given = call.json("files", "invalid_arguments")
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise SlackError("invalid_arguments", ["[ERROR] `files` must be a list of objects with an id"])
    places = _places(call)
    shared = [(_uploaded(call, str(one.get("id", ""))), str(one.get("title") or "")) for one in given]
    thread_ts = call.text("thread_ts") or None
    blocks = call.json("blocks", "invalid_blocks")
    content: Json = {"text": call.text("initial_comment")}
    if isinstance(blocks, list) and not content["text"]:
        content["blocks"] = blocks
    wires = [wire(call.slack.public_url, file, title) for file, title in shared]
    for place in places:
        post = call.slack.post(place, call.slack.bot, content, thread_ts)
        post.files = wires
        call.store.changed(post)
    return {"ok": True, "files": [{"id": one["id"], "title": one["title"]} for one in wires]}


def wire(public_url: str, file: File, title: str) -> Json:
    """A file as messages carry it."""
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    url = f"{public_url}/slack/files/{file.id}/{file.name}"
    return {
        "id": file.id,
        "name": file.name,
        "title": title or file.name,
        "alt_txt": file.alt_text,
        "mimetype": kind,
        "filetype": file.name.rpartition(".")[2],
        "mode": "hosted",
        "size": len(file.content),
        "user": world.SLACK_BOT_USER,
        "is_external": False,
        "url_private": url,
        "url_private_download": f"{url}?download=1",
    }


def _places(call: Call) -> list[Place]:
    wanted = [one for one in [call.text("channel_id"), *call.text("channels").split(",")] if one]
    if len(wanted) > _CHANNELS:
        raise SlackError("channels_limit_exceeded")
    found = []
    for one in wanted:
        place = call.store.places.get(one)
        if place is None:
            raise SlackError("channel_not_found")
        if place.is_archived or not place.has_bot:
            raise SlackError("not_in_channel")
        found.append(place)
    return found


def _uploaded(call: Call, file_id: str) -> File:
    """A file whose bytes have come, which is shared once."""
    file = call.store.files.get(file_id)
    if file is None or not file.content or file.is_shared:
        raise SlackError("file_not_found")
    file.is_shared = True
    return file


METHODS: dict[str, Method] = {
    "files.getUploadURLExternal": upload_url,
    "files.completeUploadExternal": complete,
}
