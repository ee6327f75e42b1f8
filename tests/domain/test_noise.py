"""What keeps a channel quiet: quiet hours over midnight and changes of the clocks, thresholds, turns."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.builds import BuildStatus
from bot.domain.noise import QuietHours, Run, Storm, Threshold, count_turns, has_newer_turn, join_noise, quiet_until
from bot.domain.subjects import SubjectKey, SubjectKind

BERLIN = ZoneInfo("Europe/Berlin")
KEY = SubjectKey(SubjectKind.BUILD, "ci", "web", "1")


def local(day: int, hour: int, minute: int = 0, *, month: int = 6, fold: int = 0) -> datetime:
    """A moment of 2026 as the clocks of Berlin show it, in UTC."""
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN, fold=fold).astimezone(UTC)


def hours(text: str) -> QuietHours:
    """Quiet hours such as `22:00-08:00`."""
    return QuietHours.parse(text)


@pytest.mark.parametrize(
    ("at", "ends"),
    [
        (local(10, 21, 59), None),
        (local(10, 22), local(11, 8)),
        (local(11, 0), local(11, 8)),
        (local(11, 7, 59), local(11, 8)),
        (local(11, 8), None),
        (local(11, 12), None),
    ],
)
def test_quiet_hours_go_over_midnight(at: datetime, ends: datetime | None) -> None:
    """From ten in the evening to eight in the morning; the end itself is loud."""
    assert hours("22:00-08:00").end_after(at, BERLIN) == ends


def test_quiet_hours_within_a_day() -> None:
    """A siesta ends on its own day."""
    assert hours("13:00-15:00").end_after(local(10, 14), BERLIN) == local(10, 15)
    assert hours("13:00-15:00").end_after(local(10, 23), BERLIN) is None


@pytest.mark.parametrize(
    ("at", "ends", "length_h"),
    [(local(28, 23, month=3), local(29, 8, month=3), 9), (local(24, 22, month=10), local(25, 8, month=10), 11)],
    ids=["spring", "autumn"],
)
def test_a_change_of_the_clocks_moves_neither_end(at: datetime, ends: datetime, length_h: int) -> None:
    """The night of the change ends at eight as the clocks show it, an hour sooner or later than others."""
    begun = local(28, 22, month=3) if at.month == 3 else at
    assert hours("22:00-08:00").end_after(at, BERLIN) == ends
    assert ends - begun == timedelta(hours=length_h)


def test_an_end_that_the_clocks_skip_is_at_their_change() -> None:
    """Half past two does not exist in the night to 29 March: half an hour after two is half past three."""
    assert hours("22:00-02:30").end_after(local(29, 1, month=3), BERLIN) == local(29, 3, 30, month=3)


def test_an_end_that_comes_twice_is_the_first() -> None:
    """Once the hours are over they do not begin again when the clocks show the same time anew."""
    first, second = local(25, 2, 15, month=10), local(25, 2, 15, month=10, fold=1)
    assert hours("22:00-02:30").end_after(first, BERLIN) == local(25, 2, 30, month=10)
    assert hours("22:00-02:30").end_after(second, BERLIN) is None


@given(
    st.floats(0, 366 * 86400.0).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s)),
    st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    st.sampled_from(["Europe/Berlin", "Asia/Shanghai", "America/St_Johns", "Australia/Lord_Howe", "UTC"]),
)
def test_what_is_held_is_let_go(at: datetime, start: time, end: time, zone: str) -> None:
    """Whatever the hours and the zone: an end lies ahead, within 26 hours, and at it nothing is held by them."""
    quiet = QuietHours(start, end)
    ends = quiet.end_after(at, ZoneInfo(zone)) if start != end else None
    if ends is not None:
        assert at < ends <= at + timedelta(hours=26)
        assert quiet.end_after(ends, ZoneInfo(zone)) is None


def test_several_hours_hold_only_while_all_last() -> None:
    """A card that two routes send waits for the one whose hours end first; with no hours it does not wait."""
    both = ["22:00-08:00", "20:00-06:00"]
    assert quiet_until(both, local(10, 23), "Europe/Berlin") == local(11, 6)
    assert quiet_until(both, local(10, 21), "Europe/Berlin") is None
    assert quiet_until([], local(10, 23), "Europe/Berlin") is None


def test_a_card_is_held_back_only_as_far_as_all_routes_ask() -> None:
    """One route without a wish ends it; of two wishes the milder one holds."""
    asked = {"group": [5, 60.0], "flapping": [4, 3600.0], "quiet": ["22:00-08:00"], "progress_interval_s": 10.0}
    assert join_noise(asked, {}) == join_noise({}, asked) == {}
    other = {"group": [9, 60.0], "flapping": [2, 60.0], "quiet": ["20:00-06:00"], "progress_interval_s": 3.0}
    assert join_noise(asked, other) == {
        "group": [9, 60.0],
        "flapping": [4, 3600.0],
        "quiet": ["22:00-08:00", "20:00-06:00"],
        "progress_interval_s": 3.0,
    }
    assert join_noise(asked, asked) == asked


def test_a_storm_is_over_when_fewer_came_within_the_window() -> None:
    """The threshold counts what came in the last window alone."""
    threshold = Threshold(3, 60.0)
    assert Storm((0.0, 10.0)).is_over(threshold, 20.0)
    assert not Storm((0.0, 10.0, 20.0)).is_over(threshold, 59.0)
    assert Storm((0.0, 10.0, 20.0)).is_over(threshold, 60.0)


def runs(*ends: BuildStatus) -> list[Run]:
    """Runs that began a second apart."""
    return [Run(KEY, float(at), status.value) for at, status in enumerate(ends)]


GOOD, BAD, STOPPED = BuildStatus.SUCCESS, BuildStatus.FAILED, BuildStatus.CANCELLED


def test_turns_are_counted_between_good_and_bad() -> None:
    """The same end twice is no turn, and one that was cancelled stands between none."""
    assert count_turns(runs(GOOD, GOOD, BAD, STOPPED, BAD, GOOD, STOPPED, BAD)) == 3
    assert count_turns(runs(GOOD)) == count_turns([]) == 0


def test_a_later_run_tells_more_when_it_failed_or_repaired() -> None:
    """A good run after good ones has no notice that could stand for an earlier one."""
    assert has_newer_turn(runs(BAD, GOOD), 0.0)
    assert has_newer_turn(runs(GOOD, BAD), 0.0)
    assert not has_newer_turn(runs(BAD, GOOD, GOOD), 1.0)
    assert not has_newer_turn(runs(BAD, STOPPED), 0.0)
