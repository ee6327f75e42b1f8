"""Texts of the configuration with `{{names}}` in them: filled in as they stand, never evaluated."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import zip_longest

_NAME = re.compile(r"\{\{\s*([a-z_]+)\s*\}\}")
DEPLOYMENT_NAMES = frozenset({"service", "service_name", "environment", "version", "commit", "previous_version"})


def names_in(template: str) -> frozenset[str]:
    """The names that a template asks for."""
    return frozenset(_NAME.findall(template))


def fill(template: str, values: Mapping[str, str], escape: Callable[[str], str] = str) -> str:
    """The text with each name's value, escaped for where it goes; KeyError for a name without one."""
    return _NAME.sub(lambda found: escape(values[found[1]]), template)


def may_be(template: str, text: str, values: Mapping[str, str]) -> bool:
    """Whether a template may become a text: names without a value stand for anything."""
    pieces = _NAME.split(template)
    known = (re.escape(values[one]) if one in values else ".+" for one in pieces[1::2])
    literal = map(re.escape, pieces[::2])
    pattern = "".join(part for pair in zip_longest(literal, known, fillvalue="") for part in pair)
    return re.fullmatch(pattern, text) is not None


def deployment_values(
    service: str, environment: str, version: str, commit: str, previous_version: str
) -> dict[str, str]:
    """The values of one deployment, by name."""
    return {
        "service": service,
        "service_name": service,
        "environment": environment,
        "version": version,
        "commit": commit,
        "previous_version": previous_version,
    }
