"""Where the bytes of uploads go, and where the page gets the pictures.

Slack keeps its files behind a login; here whoever is on the page may see them.
"""

import mimetypes

from aiohttp import web

from playground.core import Answer, Incoming
from playground.slack.platform import SlackPlatform


async def upload(slack: SlackPlatform, request: web.Request) -> web.Response:
    """`POST /slack/upload/<ticket>`: the bytes as they are, or as the part `filename` or `file` of a form."""
    ticket = request.match_info["ticket"]
    content = await _content(request)
    file = slack.store.tickets.get(ticket)
    arguments = {"file": file.id if file else "", "bytes": len(content)}

    def take() -> Answer:
        if file is None:
            return Answer("Not found", 404)
        if len(content) != file.length:
            return Answer("Bad request", 400)
        file.content = content
        return Answer(f"OK - {len(content)}")

    incoming = Incoming("slack", "upload", "", arguments)
    return await slack.core.receive(request, incoming, take, _throttled)


async def shown(slack: SlackPlatform, request: web.Request) -> web.Response:
    """`GET /slack/files/<id>/<name>`"""
    file = slack.store.files.get(request.match_info["file"])
    if file is None or not file.is_shared or file.name != request.match_info["name"]:
        raise web.HTTPNotFound
    kind = mimetypes.guess_type(file.name)[0] or ""
    is_picture = kind in ("image/png", "image/jpeg", "image/gif")
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"}
    if not is_picture or "download" in request.query:
        headers["Content-Disposition"] = "attachment"
    return web.Response(
        body=file.content, content_type=kind if is_picture else "application/octet-stream", headers=headers
    )


async def _content(request: web.Request) -> bytes:
    if request.content_type != "multipart/form-data":
        return await request.read()
    form = await request.post()
    part = form.get("filename") or form.get("file")
    return part.file.read() if isinstance(part, web.FileField) else b""


def _throttled(wait_s: int) -> Answer:
    return Answer("Too many requests", 429, {"Retry-After": str(max(wait_s, 1))})
