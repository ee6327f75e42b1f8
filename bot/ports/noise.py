"""What services ask of the database to keep channels quiet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.noise import Digest, Run, Storm
from bot.domain.subjects import SubjectKey


class Noise(Protocol):
    """Storms at destinations, the digests that take them, and the runs of one line."""

    def storm(self, destination: str, *, for_change: bool = False) -> Storm:
        """What came to a destination; `for_change`, nobody else changes it until the transaction ends."""
        ...

    def put_storm(self, destination: str, storm: Storm) -> None:
        """Store what came to a destination."""
        ...

    def touch(self, digest: str, at: float, *, by: float, is_other_end: bool = False) -> None:
        """Ask for the newest state of a digest, some build of which changed; it is final when all of them are.

        It is shown `by` then, whatever its pace; at once where it is final, and where a try failed in its own time.
        `is_other_end`: the build ended otherwise than it was said to have, which is shown again where it was shown.
        """
        ...

    def digest(self, key: SubjectKey, limit: int) -> Digest:
        """What a digest holds; up to `limit` builds of it, those that failed first, then those that run."""
        ...

    def runs(self, key: SubjectKey, branch: str, since: float) -> Sequence[Run]:
        """The finished runs of a subject's source and project, on a branch, that began after `since`, in their order.

        At most the newest 200.
        """
        ...
