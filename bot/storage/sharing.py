"""Taking due work so that no kin of it gets all hands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def share_out(
    found: Sequence[T], kin_of: Callable[[T], str], take: Callable[[str], bool] | None
) -> tuple[list[T], set[str]]:
    """Those that may be taken, and the kins of which no more may; `take` is asked for each one until it says no."""
    free: list[T] = []
    refused: set[str] = set()
    for one in found:
        kin = kin_of(one)
        if take is None or (kin not in refused and take(kin)):
            free.append(one)
        else:
            refused.add(kin)
    return free, refused
