"""Words from outside, made safe to store: bounded, without control characters, NULs or lone surrogates."""

from __future__ import annotations

import re

MAX_URL = 2000

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\ud800-\udfff]")
_LINE_UNSAFE = re.compile("[\x00-\x1f\x7f\x80-\x9f\u2028\u2029\ud800-\udfff]")
_URL = re.compile(r"https?://[^\s\x00-\x20\x7f<>\"\ud800-\udfff]+", re.IGNORECASE)


def clean_line(text: str, limit: int) -> str:
    """`text` as one line of at most `limit` characters; what was cut off is marked with an ellipsis."""
    text = text[: limit * 4].strip()
    if not text.isprintable():
        text = _LINE_UNSAFE.sub(" ", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_text(text: str, limit: int) -> str:
    """`text` with its line breaks, at most `limit` characters; the end is kept, for that is where logs tell most."""
    text = _UNSAFE.sub("", text.replace("\r\n", "\n"))
    return text if len(text) <= limit else "…" + text[-(limit - 1) :]


def clean_url(text: str) -> str | None:
    """`text` when it is an http or https address that a card may link to, else None."""
    return text if len(text) <= MAX_URL and _URL.fullmatch(text) else None
