"""The real clock and the real identifiers; everything else asks the ports."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        return datetime.now(UTC)


class UlidIds:
    """ULIDs (https://github.com/ulid/spec): 48 bits of milliseconds, 80 random bits, in Crockford's base 32."""

    def new(self) -> str:
        """A new identifier of 26 characters that sorts by time."""
        number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
        return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
