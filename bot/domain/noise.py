"""What keeps a channel quiet: storms folded into one card, hours in which nothing is posted, builds that flap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from bot.domain.builds import Build, BuildStatus
from bot.domain.subjects import SubjectKey

CRITICAL: Final = "critical"
MOST_REMEMBERED = 100


@dataclass(frozen=True, slots=True)
class Threshold:
    """More than `more_than` (at most 100) within `per_s` seconds."""

    more_than: int
    per_s: float


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours of each day in which nothing is posted, over midnight where `start` is later than `end`."""

    start: time
    end: time
    spares_critical: bool = True

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The hours written as `22:00-08:00`; ValueError for anything else."""
        start, _, end = text.partition("-")
        return cls(time.fromisoformat(start), time.fromisoformat(end))

    def end_after(self, at: datetime, zone: ZoneInfo) -> datetime | None:
        """When the quiet hours that `at` lies in end; None outside of them.

        They begin and end at the first instant that the clocks of the zone show so, and last as long as that takes: a
        time that a change of the clocks leaves out is taken at the change.
        """
        today = at.astimezone(zone).date()
        for day in (today - timedelta(days=1), today):
            last = day if self.start < self.end else day + timedelta(days=1)
            begins = datetime.combine(day, self.start, zone).astimezone(UTC)
            ends = datetime.combine(last, self.end, zone).astimezone(UTC)
            if begins <= at < ends:
                return ends
        return None


def quiet_until(hours: Iterable[str], at: datetime, timezone: str) -> datetime | None:
    """When the first of several quiet hours ends, while all of them last; None where there are none, or one is over."""
    zone = ZoneInfo(timezone)
    ends = [QuietHours.parse(text).end_after(at, zone) for text in hours]
    return min((end for end in ends if end is not None), default=None) if ends and None not in ends else None


@dataclass(frozen=True, slots=True)
class Storm:
    """What came to a destination: the last `MOST_REMEMBERED` openings, and the digest that takes what is too much.

    The digest is taken on with until `quiet_at`, a window after the last card that it took; `size` is how many it took.
    """

    recent: tuple[float, ...] = ()
    digest: str = ""
    size: int = 0
    begun_at: float = 0.0
    quiet_at: float = 0.0

    def is_over(self, threshold: Threshold, at: float) -> bool:
        """Whether one more card stays within the threshold."""
        return sum(abs(at - past) < threshold.per_s for past in self.recent) < threshold.more_than


def join_noise(standing: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The wishes of two routes for one card: it is held back only as far as both of them ask."""
    joined: dict[str, Any] = {}
    for name in ("group", "flapping"):
        if name in standing and name in asked:
            joined[name] = max(standing[name], asked[name])
    if "quiet" in standing and "quiet" in asked:
        joined["quiet"] = list(dict.fromkeys([*standing["quiet"], *asked["quiet"]]))
    if "progress_interval_s" in standing and "progress_interval_s" in asked:
        joined["progress_interval_s"] = min(standing["progress_interval_s"], asked["progress_interval_s"])
    return joined


@dataclass(frozen=True, slots=True)
class Digest:
    """Builds that came all at once; `shown` are the most telling of them, `counts` are of all.

    `unfinished` have not ended, whatever their status.
    """

    key: SubjectKey
    counts: Mapping[BuildStatus, int]
    shown: Sequence[Build]
    unfinished: int = 0

    @property
    def is_final(self) -> bool:
        """Whether all of them have ended."""
        return self.unfinished == 0 and not self.counts.get(BuildStatus.RUNNING)

    @property
    def total(self) -> int:
        """How many builds it holds."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Run:
    """A finished build of one source, project and branch; `ordered_at` is when it began."""

    key: SubjectKey
    ordered_at: float
    status: str


def count_turns(runs: Sequence[Run]) -> int:
    """How often runs in their order turn from good to bad and back; other ends count for nothing."""
    telling = [run.status for run in runs if run.status in (BuildStatus.SUCCESS, BuildStatus.FAILED)]
    return sum(one != next_one for one, next_one in pairwise(telling))


def has_newer_turn(runs: Sequence[Run], at: float) -> bool:
    """Whether a run that began after `at` is worth a notice of its own: it failed, or repaired what had failed."""
    last = ""
    for run in runs:
        is_repair = run.status == BuildStatus.SUCCESS and last == BuildStatus.FAILED
        if run.ordered_at > at and (is_repair or run.status == BuildStatus.FAILED):
            return True
        last = run.status
    return False
