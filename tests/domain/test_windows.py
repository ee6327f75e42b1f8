"""When deployments may start: hours of the week in people's own time, nights, changes of the clocks, and freezes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from bot.domain.windows import Closed, Freeze, Window, closed

BERLIN = "Europe/Berlin"
WORKDAYS = frozenset(range(5))
OFFICE = Window(WORKDAYS, time(9), time(17), BERLIN)
NIGHT = Window(frozenset({4}), time(22), time(6), BERLIN)  # from Friday evening to Saturday morning
A_MOMENT = timedelta(microseconds=1)


def local(*numbers: int, fold: int = 0) -> datetime:
    """An instant as the clocks of Berlin show it."""
    return datetime(*numbers, tzinfo=ZoneInfo(BERLIN), fold=fold)  # type: ignore[arg-type,misc]  # year to minute


def test_without_windows_every_hour_is_open() -> None:
    """Nothing was configured: nothing is held back."""
    assert closed((), (), local(2026, 11, 21, 3)) is None


@pytest.mark.parametrize(
    ("at", "until"),
    [
        (local(2026, 11, 20, 9), None),
        (local(2026, 11, 20, 17) - A_MOMENT, None),
        (local(2026, 11, 20, 9) - A_MOMENT, local(2026, 11, 20, 9)),
        (local(2026, 11, 20, 17), local(2026, 11, 23, 9)),  # a Friday
        (local(2026, 11, 21, 12), local(2026, 11, 23, 9)),
    ],
)
def test_a_window_has_its_first_moment_and_not_its_end(at: datetime, until: datetime | None) -> None:
    """Outside of it, it is said when the next one opens."""
    assert closed([OFFICE], (), at) == (Closed("window", "", until) if until else None)


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        (local(2026, 11, 20, 21, 59), False),
        (local(2026, 11, 20, 22), True),
        (local(2026, 11, 21, 0), True),
        (local(2026, 11, 21, 5, 59), True),
        (local(2026, 11, 21, 6), False),
        (local(2026, 11, 21, 23), False),
        (local(2026, 11, 20, 3), False),
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(at: datetime, is_open: bool) -> None:
    """Over midnight it goes on, though the next day is none of its days; the night before it is another day's."""
    assert (closed([NIGHT], (), at) is None) is is_open


def test_either_of_two_windows_is_enough() -> None:
    """The next one to open is told, whichever it is."""
    shut = closed([NIGHT, OFFICE], (), local(2026, 11, 20, 18))
    assert shut == Closed("window", "", local(2026, 11, 20, 22))


@pytest.mark.parametrize(
    ("before", "after", "hours"),
    [(date(2026, 3, 27), date(2026, 3, 30), (8, 7)), (date(2026, 10, 23), date(2026, 10, 26), (7, 8))],
)
def test_a_window_follows_the_clocks(before: date, after: date, hours: tuple[int, int]) -> None:
    """Nine o'clock is nine o'clock on both sides of a change, an hour earlier or later in UTC."""
    for day, hour in zip((before, after), hours, strict=True):
        opens = datetime.combine(day, time(hour), UTC)
        assert closed([OFFICE], (), opens) is None
        assert closed([OFFICE], (), opens - A_MOMENT) == Closed("window", "", opens)
    shut = closed([OFFICE], (), datetime.combine(before, time(20), UTC))
    assert shut == Closed("window", "", datetime.combine(after, time(hours[1]), UTC))


def test_a_night_in_which_the_clocks_change_is_longer() -> None:
    """From ten to six in the night to the 25th of October are nine hours; the hour that comes twice is open twice."""
    night = Window(frozenset({5}), time(22), time(6), BERLIN)
    begins, ends = datetime(2026, 10, 24, 20, tzinfo=UTC), datetime(2026, 10, 25, 5, tzinfo=UTC)
    assert all(closed([night], (), begins + timedelta(minutes=minutes)) is None for minutes in range(0, 9 * 60, 10))
    assert closed([night], (), begins - A_MOMENT) is not None
    assert closed([night], (), ends) is not None
    assert closed([night], (), local(2026, 10, 25, 2, 30)) is closed([night], (), local(2026, 10, 25, 2, 30, fold=1))


def test_a_freeze_is_whole_days_of_its_own_zone() -> None:
    """Its first moment is midnight before the first day, its last one is just before midnight after the last."""
    freeze = Freeze(date(2026, 12, 23), date(2026, 12, 26), "Christmas", BERLIN)
    begins, ends = datetime(2026, 12, 22, 23, tzinfo=UTC), datetime(2026, 12, 26, 23, tzinfo=UTC)
    assert closed((), [freeze], begins - A_MOMENT) is None
    assert closed((), [freeze], begins) == Closed("freeze", "Christmas", ends)
    assert closed((), [freeze], ends - A_MOMENT) == Closed("freeze", "Christmas", ends)
    assert closed((), [freeze], ends) is None


def test_a_freeze_over_a_change_of_the_clocks_ends_at_midnight() -> None:
    """The last day is an hour shorter: it ends at 22:00 UTC, not at 23:00."""
    freeze = Freeze(date(2026, 3, 28), date(2026, 3, 29), "audit", BERLIN)
    ends = datetime(2026, 3, 29, 22, tzinfo=UTC)
    assert freeze.ends == ends
    assert closed((), [freeze], ends - A_MOMENT) is not None
    assert closed((), [freeze], ends) is None


def test_after_a_freeze_the_window_counts() -> None:
    """A freeze is told before a window, and nothing opens in it: the next window after it does."""
    freeze = Freeze(date(2026, 11, 23), date(2026, 11, 24), "fair", BERLIN)
    assert closed([OFFICE], [freeze], local(2026, 11, 23, 20)) == Closed("freeze", "fair", local(2026, 11, 25, 9))
    assert closed([OFFICE], [freeze], local(2026, 11, 22, 20)) == Closed("window", "", local(2026, 11, 25, 9))


def test_what_never_opens_has_no_next_moment() -> None:
    """A freeze of years is told without a day on which it could be tried again."""
    freeze = Freeze(date(2026, 1, 1), date(2030, 1, 1), "moved out", BERLIN)
    assert closed([OFFICE], [freeze], local(2026, 11, 20, 12)) == Closed("freeze", "moved out", None)


@pytest.mark.parametrize(
    ("begins", "ends", "at", "opens"),
    [
        # the hour from two to three comes twice: it is open in the second one as well
        (time(1), time(2, 30), local(2026, 10, 25, 2, 40), local(2026, 10, 25, 2, 0, fold=1)),
        # one that begins at half past two does so twice, and is shut between
        (time(2, 30), time(5), local(2026, 10, 25, 2, 10, fold=1), local(2026, 10, 25, 2, 30, fold=1)),
        # there is no half past two: it begins with the hour after it
        (time(2, 30), time(5), local(2026, 3, 29, 1, 50), local(2026, 3, 29, 3)),
    ],
)
def test_it_is_said_when_it_opens_as_the_clocks_change(begins: time, ends: time, at: datetime, opens: datetime) -> None:
    """The moment before is outside of it, and that one in it."""
    window = Window(frozenset(range(7)), begins, ends, BERLIN)
    found = closed([window], (), at)
    assert found is not None
    assert found.until is not None
    assert found.until.astimezone(UTC) == opens.astimezone(UTC)
    assert window.holds(opens)
    assert not window.holds((opens.astimezone(UTC) - A_MOMENT).astimezone(ZoneInfo(BERLIN)))
