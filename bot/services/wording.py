"""Content as JSON and back, for words that cannot be said now: what a person is told later is what was found then."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

from bot.domain import cards
from bot.domain.cards import Card, Content, Notice
from bot.telemetry import redact

_KIND = "is"
_ENUMS: dict[str, type[StrEnum]] = {kind.__name__: kind for kind in (cards.Tone, cards.Style)}
_PARTS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *(Card, Notice, cards.Picture, cards.Field, cards.Lines, cards.Paragraph, cards.Preformatted),
        *(cards.Plain, cards.Strong, cards.Code, cards.Link, cards.Moment, cards.Person, cards.Action, cards.Confirm),
    )
}


def content_to_json(content: Content) -> dict[str, Any]:
    """JSON values for the database; what looks like a secret is masked in them."""
    return cast("dict[str, Any]", _to_json(content))


def content_from_json(stored: dict[str, Any]) -> Content:
    """The reverse; LookupError, TypeError or ValueError for what another version wrote."""
    content = _from_json(stored)
    if not isinstance(content, Card | Notice):
        raise ValueError(f"no content: {type(content).__name__}")
    return content


def _to_json(part: object) -> object:
    if isinstance(part, StrEnum):
        return {_KIND: type(part).__name__, "value": part.value}
    if isinstance(part, str):
        return redact(part)
    if isinstance(part, tuple):
        return [_to_json(one) for one in part]
    if isinstance(part, datetime):
        return {_KIND: "datetime", "at": part.timestamp()}
    if isinstance(part, bytes):
        return {_KIND: "bytes", "base64": b64encode(part).decode()}
    if is_dataclass(part):
        values = {field.name: _to_json(getattr(part, field.name)) for field in fields(part)}
        return {_KIND: type(part).__name__, **values}
    return part  # a number, a truth or nothing


def _from_json(stored: object) -> Any:  # noqa: ANN401 - one of the parts of a content
    if isinstance(stored, list):
        return tuple(_from_json(one) for one in stored)
    if not isinstance(stored, dict):
        return stored
    kind, values = stored[_KIND], {name: value for name, value in stored.items() if name != _KIND}
    if kind == "datetime":
        return datetime.fromtimestamp(values["at"], UTC)
    if kind == "bytes":
        return b64decode(values["base64"])
    if kind in _ENUMS:
        return _ENUMS[kind](values["value"])
    return _PARTS[kind](**{name: _from_json(value) for name, value in values.items()})
