"""Words for people, in the languages the project ships.

English texts are the message ids; other languages are gettext catalogues in `bot/locale/<locale>.po`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from babel.messages.pofile import read_po

LOCALES = ("en", "zh-CN")
_CATALOGUES = Path(__file__).parent / "locale"


def translate(locale: str, message: str, /, **values: object) -> str:
    """`message` in `locale` (English where there is no translation), with `{name}` places filled from `values`."""
    words = _catalogue(locale).get(message) or message
    return words.format(**values) if values else words


@lru_cache(maxsize=len(LOCALES))
def _catalogue(locale: str) -> dict[str, str]:
    path = _CATALOGUES / f"{locale}.po"
    if locale not in LOCALES or not path.exists():
        return {}
    with path.open("rb") as file:
        return {
            str(entry.id): str(entry.string)
            for entry in read_po(file, locale=locale.replace("-", "_"))
            if entry.id and entry.string and not entry.fuzzy
        }
