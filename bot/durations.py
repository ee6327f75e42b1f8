"""Lengths of time and rates as people write them in the configuration: `90s`, `30d`, `50/s`, and `off`."""

from __future__ import annotations

import re

OFF = "off"
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_RATE = re.compile(r"([1-9][0-9]{0,5})/([smh])")


def seconds_of(text: str) -> float | None:
    """The seconds that `30d` stands for, None for `off`; ValueError for what is no duration."""
    if text == OFF:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("must be a duration such as 90s, 15m, 12h, 30d or 2w, or off")
    return int(match[1]) * _UNITS[match[2]]


def length_of(text: str) -> float:
    """The seconds that a length of time has that cannot be switched off; 0 for what is none."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else 0.0


def per_second_of(text: str) -> float | None:
    """How many a second `600/m` allows, None for `off`; ValueError for what is no rate."""
    if text == OFF:
        return None
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError("must be a rate such as 50/s, 600/m or 1000/h, or off")
    return int(match[1]) / _UNITS[match[2]]
