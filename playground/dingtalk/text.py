"""DingTalk's messages as a person reads them, and the links and buttons on them."""

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

from playground.options import Json

SEND_LINK: Final = "dtmd://dingtalkclient/sendMessage"

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(((?:[^()\s]|\([^()\s]*\))+)\)")
_FONT = re.compile(r"</?font[^>]*>")
_HEAD = re.compile(r"^\s{0,3}(#{1,6}|>)\s?", re.MULTILINE)
_ESCAPED = re.compile(r"\\([\\`*_])")
_KEPT = 0xE000
_RESTORED: Final = {_KEPT + ord(mark): mark for mark in "\\`*_"}
_MARK = re.compile(r"(\*\*|__|\*|`)(?=\S)(.+?)(?<=\S)\1")


def plain(markdown: str) -> str:
    """Markdown without its marks; links by their label, escaped characters as themselves."""
    text = _ESCAPED.sub(lambda found: chr(_KEPT + ord(found[1])), markdown)
    text = _LINK.sub(lambda found: f"[{found[2] or '图片'}]" if found[1] else found[2], text)
    text = _HEAD.sub("", _FONT.sub("", text))
    text = _MARK.sub(r"\2", _MARK.sub(r"\2", text))
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).strip("\n").translate(_RESTORED)


def sent_by(url: str) -> str | None:
    """The text that a `dtmd://…/sendMessage` link sends, None for any other link."""
    if not url.startswith(SEND_LINK):
        return None
    return parse_qs(urlsplit(url).query).get("content", [""])[0]


def _links(markdown: str) -> list[Json]:
    found = [one for one in _LINK.finditer(markdown) if not one[1]]
    return [{"id": f"link-{number}", "label": one[2], "url": one[3]} for number, one in enumerate(found, 1)]


def _buttons(pairs: list[tuple[str, str]]) -> list[Json]:
    return [{"id": f"button-{number}", "label": one[0], "url": one[1]} for number, one in enumerate(pairs, 1)]


def read(msgtype: str, body: Json) -> tuple[str, list[Json]]:
    """What a message says, and what can be clicked on it; titles stand in notifications only."""
    match msgtype:
        case "text":
            return str(body.get("content", "")), []
        case "markdown":
            return plain(str(body.get("text", ""))), _links(str(body.get("text", "")))
        case "actionCard":
            pairs = [(str(one["title"]), str(one["actionURL"])) for one in body.get("btns") or []]
            if body.get("singleTitle"):
                pairs = [(str(body["singleTitle"]), str(body.get("singleURL", "")))]
            return plain(str(body.get("text", ""))), _buttons(pairs)
        case "link":
            url = str(body.get("messageUrl", ""))
            return f"{body.get('title', '')}\n{body.get('text', '')}", _buttons([(str(body.get("title", "")), url)])
        case "feedCard":
            rows = [(str(one.get("title", "")), str(one.get("messageURL", ""))) for one in body.get("links") or []]
            return "\n".join(one[0] for one in rows), _buttons(rows)
        case _:
            return "", []
