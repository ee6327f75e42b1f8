"""The real clock and the real identifiers, for which everything else asks the ports; and what a process may open."""

from __future__ import annotations

import resource
import secrets
import time
from datetime import UTC, datetime

MOST_DESCRIPTORS = 4096
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


def make_room_for_connections() -> None:
    """Let this process open more than the usual 1,024 files and connections, as far as its user may."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, MOST_DESCRIPTORS)
    if usual != resource.RLIM_INFINITY and usual < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
