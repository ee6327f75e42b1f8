"""When deployments may start: weekly windows and freezes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

LOOK_AHEAD_DAYS = 370


@dataclass(frozen=True, slots=True)
class Window:
    """Days of the week (0 is Monday) and the hours in which something may start, in `timezone`.

    An `ends` that is not after `begins` is on the following day.
    """

    days: frozenset[int]
    begins: time
    ends: time
    timezone: str = "UTC"

    def holds(self, at: datetime) -> bool:
        """Whether the instant lies in it."""
        local = at.astimezone(ZoneInfo(self.timezone))
        now = local.time()
        if self.begins < self.ends:
            return local.weekday() in self.days and self.begins <= now < self.ends
        today = local.weekday() in self.days and now >= self.begins
        return today or ((local.weekday() - 1) % 7 in self.days and now < self.ends)

    def begins_on(self, day: date) -> tuple[datetime, ...]:
        """When it may open on a day: an hour that comes twice has it open twice."""
        if day.weekday() not in self.days:
            return ()
        begins = datetime.combine(day, self.begins, ZoneInfo(self.timezone))
        return begins.astimezone(UTC), begins.replace(fold=1).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Freeze:
    """From the first day to the last, both whole days in `timezone`, nothing starts; `reason` is told to who asks."""

    first: date
    last: date
    reason: str
    timezone: str = "UTC"

    def holds(self, at: datetime) -> bool:
        """Whether the instant lies in it."""
        return self.first <= at.astimezone(ZoneInfo(self.timezone)).date() <= self.last

    @property
    def ends(self) -> datetime:
        """The first instant after it."""
        return datetime.combine(self.last + timedelta(days=1), time(), ZoneInfo(self.timezone)).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing may start: `reason` is `freeze` or `window`, `until` the next instant at which something may.

    `until` is told by the clock of what holds it back.
    """

    reason: str
    detail: str
    until: datetime | None


def closed(windows: Sequence[Window], freezes: Sequence[Freeze], at: datetime) -> Closed | None:
    """Why nothing may start at `at`; None when it may. Without windows every hour is open."""
    freeze = next((one for one in freezes if one.holds(at)), None)
    if freeze is not None:
        return Closed("freeze", freeze.reason, _opens_by(freeze.timezone, windows, freezes, at))
    if windows and not any(window.holds(at) for window in windows):
        return Closed("window", "", _opens_by(windows[0].timezone, windows, freezes, at))
    return None


def _opens_by(timezone: str, windows: Sequence[Window], freezes: Sequence[Freeze], at: datetime) -> datetime | None:
    opens = opens_at(windows, freezes, at)
    return None if opens is None else opens.astimezone(ZoneInfo(timezone))


def opens_at(windows: Sequence[Window], freezes: Sequence[Freeze], at: datetime) -> datetime | None:
    """The next instant from `at` on that is in a window and in no freeze, within a year; None without one."""
    candidates = [at, *(freeze.ends for freeze in freezes if freeze.ends > at)]
    for days in range(-1, LOOK_AHEAD_DAYS):
        for window in windows:
            day = at.astimezone(ZoneInfo(window.timezone)).date() + timedelta(days=days)
            found = (*window.begins_on(day), _change_on(day, window.timezone))
            candidates += [instant for instant in found if instant is not None and instant > at]
    for instant in sorted(candidates):
        is_frozen = any(freeze.holds(instant) for freeze in freezes)
        if not is_frozen and (not windows or any(window.holds(instant) for window in windows)):
            return instant
    return None


@lru_cache(maxsize=2000)
def _change_on(day: date, timezone: str) -> datetime | None:
    """When the clocks are changed on a day, if they are: hours of a window may come twice, or begin in none at all."""
    zone = ZoneInfo(timezone)
    before, after = (datetime.combine(day + timedelta(days=days), time(), zone).astimezone(UTC) for days in (0, 1))
    offset = before.astimezone(zone).utcoffset()
    if after.astimezone(zone).utcoffset() == offset:
        return None
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)
