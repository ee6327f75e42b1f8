"""Series by the text of their labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Value = TypeVar("Value")


def distinct(pairs: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """Each by its labels; those that read the same, because they were cut, stay as many as they are."""
    found: dict[str, Value] = {}
    for labels, value in pairs:
        name, count = labels, 1
        while name in found:
            count += 1
            name = f"{labels} ({count})"
        found[name] = value
    return found
