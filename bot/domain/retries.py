"""How long to wait before trying again."""

from __future__ import annotations

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
MOST_TRIES = 300


def pause_s(tries: int) -> float:
    """Seconds to wait after the `tries`-th failure in a row (from 1): 1, 2, 4 … up to 5 minutes."""
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(tries - 1, 20)))
