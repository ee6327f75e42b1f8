"""What is wrong with a value, in our words: pydantic's complaints translated, misspelt names with the nearest known."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

NOTHING_LIKE_IT = 0.6
MOST_NAMES = 40
_SECTION = "must be a section of settings (name: value)"
_WORDS = {
    "missing": "is missing",
    "too_short": "must name at least one",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "model_type": _SECTION,
    "model_attributes_type": _SECTION,
    "mapping_type": _SECTION,
    "dict_type": _SECTION,
    "tuple_type": "must be a list, such as [one, another]",
    "string_type": "must be text: put it in quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "date_type": "must be a date such as 2026-12-24",
    "date_parsing": "must be a date such as 2026-12-24",
    "date_from_datetime_parsing": "must be a date such as 2026-12-24",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be one word of up to 100 characters",
    "json_invalid": "is no JSON",
}
_EMPTY = "is empty: give it a value, or leave the line out"
_EMPTY_SECTION = "is empty: write {} for a section without settings, or leave the line out"


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like another one; empty where none is like it."""
    by_case = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), list(by_case), n=1, cutoff=NOTHING_LIKE_IT)
    return by_case[near[0]] if near else ""


def instead(word: str, known: Iterable[str]) -> str:
    """What to write in place of an unknown word: `: did you mean …?`, or what there is, or nothing."""
    names = list(dict.fromkeys(known))
    if near := nearest(word, names):
        return f": did you mean {near}?"
    if not names:
        return ""
    more = ", …" if len(names) > MOST_NAMES else ""
    return f": there {'is' if len(names) == 1 else 'are'} {', '.join(sorted(names)[:MOST_NAMES])}{more}"


def complaints(
    problem: ValidationError, model: type[BaseModel], *, noun: str = "setting", also: Iterable[str] = ()
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each place that is wrong, and why; `also` are names that stand in the same section and belong to others."""
    for error in problem.errors(include_url=False):
        location = error["loc"]
        if error["type"] == "extra_forbidden":
            known = [*_names_at(model, location[:-1]), *(also if len(location) == 1 else ())]
            yield location, f"is no known {noun}{instead(str(location[-1]), known)}"
        else:
            yield location, _words(error)


def _words(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    words = _WORDS.get(kind)
    if error.get("input", "") is None and kind != "missing":
        return _EMPTY_SECTION if words == _SECTION else _EMPTY
    said = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be", 1)
    return words or said


def _names_at(model: Any, location: Sequence[str | int]) -> list[str]:  # noqa: ANN401 - a type, a model or an annotation
    """The names that may stand at a place, as the file writes them; none where it is no section."""
    kind = _plain(model)
    for part in location:
        kind = _plain(_within(kind, part))
    if not _is_model(kind):
        return []
    return [field.alias or name for name, field in kind.model_fields.items() if not field.exclude]


def _within(kind: Any, part: str | int) -> Any:  # noqa: ANN401 - types
    if _is_model(kind):
        fields = {field.alias or name: field for name, field in kind.model_fields.items()}
        return fields[part].annotation if part in fields else None
    inner = get_args(kind)
    if not inner:
        return None
    return inner[1] if isinstance(part, str) and len(inner) > 1 else inner[0]


def _plain(kind: Any) -> Any:  # noqa: ANN401 - types
    """A type without what may stand around it: Annotated, and None beside it."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [one for one in get_args(kind) if one is not type(None)]
        return _plain(kinds[0]) if len(kinds) == 1 else None
    return kind


def _is_model(kind: Any) -> bool:  # noqa: ANN401 - types
    return isinstance(kind, type) and issubclass(kind, BaseModel)
