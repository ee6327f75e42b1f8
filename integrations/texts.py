"""Words from outside, safe to store: bounded, without control characters, NULs or lone surrogates; how they are cut."""

from __future__ import annotations

import re
import unicodedata

MAX_URL = 2000
MAX_NAME = 200  # of a person
MAX_EMAIL = 320

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\ud800-\udfff]")
_LINE_UNSAFE = re.compile("[\x00-\x1f\x7f\x80-\x9f\u2028\u2029\ud800-\udfff]")
_JOINER = "\u200d"
_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_LONGEST_SIGN = 16  # characters that are one sign to the eye: a family of four has seven, a flag of Wales as many
_URL = re.compile(r"https?://[^\s\x00-\x20\x7f<>\"\ud800-\udfff]+", re.IGNORECASE)


def clean_line(text: str, limit: int) -> str:
    """`text` as one line of at most `limit` characters; what was cut off is marked with an ellipsis."""
    text = text[: limit * 4].strip()
    if not text.isprintable():
        text = _LINE_UNSAFE.sub(" ", text)
    return text if len(text) <= limit else first_of(text, limit - 1) + "…"


def clean_text(text: str, limit: int) -> str:
    """`text` with its line breaks, at most `limit` characters; the end is kept, for that is where logs tell most."""
    text = _UNSAFE.sub("", text.replace("\r\n", "\n"))
    return text if len(text) <= limit else "…" + text[-(limit - 1) :]


def clean_url(text: str) -> str | None:
    """`text` when it is an http or https address that a card may link to, else None."""
    return text if len(text) <= MAX_URL and _URL.fullmatch(text) else None


def first_of(words: str, most: int) -> str:
    """The first characters of `words`, at most `most`, without half of a sign: an emoji with a joiner, a flag."""
    at = most
    while most - _LONGEST_SIGN < at < len(words) and _is_within_a_sign(words, at):
        at -= 1
    return words[: at if at > most - _LONGEST_SIGN else most]


def _is_within_a_sign(words: str, at: int) -> bool:
    """Whether the character at `at` belongs to the one before it."""
    if at <= 0:
        return False
    char, before = words[at], words[at - 1]
    if _JOINER in (before, char) or unicodedata.category(char) in ("Mn", "Me"):
        return True
    if "\U0001f3fb" <= char <= "\U0001f3ff" or "\U000e0020" <= char <= "\U000e007f":  # skin tones; names of flags
        return True
    if char not in _FLAG_LETTERS:
        return False
    head = words[:at]
    return (len(head) - len(head.rstrip(_FLAG_LETTERS))) % 2 == 1
