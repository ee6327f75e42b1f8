"""A clock that is set forward while work is under way."""

from __future__ import annotations

from dataclasses import dataclass

from bot.services.leaps import HEARD_LATE_S, LONGEST_S, Leaps

NOTHING: frozenset[int] = frozenset()


@dataclass
class Times:
    """What the clock says, and how much time really passes."""

    leaps: Leaps
    now: float = 1_000_000.0
    at: float = 50.0

    def forbids(self, in_hand: frozenset[int] = NOTHING) -> bool:
        """See `Leaps`."""
        return self.leaps.forbids(self.now, in_hand)

    def pass_by(self, seconds: float) -> None:
        """Let time pass, on all clocks."""
        self.now += seconds
        self.at += seconds


def times(*, has_others: bool = False) -> Times:
    """Leaps of a clock in hand."""
    made = Times(Leaps(has_others=has_others))
    made.leaps = Leaps(has_others=has_others, monotonic=lambda: made.at)
    return made


def test_time_that_passes_is_no_leap() -> None:
    """However long nobody looked; and a clock that is corrected a little is followed."""
    clock = times(has_others=True)
    assert not clock.forbids(frozenset({1}))
    for seconds in (0.0, 3600.0):
        clock.pass_by(seconds)
        assert not clock.forbids(frozenset({1}))
    clock.now += 1.0
    assert not clock.forbids(frozenset({1}))
    clock.now -= 3600.0
    assert not clock.forbids(frozenset({1}))
    assert not clock.leaps.others_may_hold(60.0)


def test_what_was_under_way_is_waited_for() -> None:
    """Nothing is taken up until those pieces are done; what came later counts no more."""
    clock = times()
    clock.forbids()
    clock.now += 3600.0
    assert clock.forbids(frozenset({1, 2}))
    assert clock.forbids(frozenset({2}))
    assert not clock.forbids(frozenset())
    assert not clock.forbids(frozenset({3}))


def test_what_hangs_is_not_waited_for_without_end() -> None:
    """One piece that never ends would keep all others from being taken up ever again."""
    clock = times()
    clock.forbids()
    clock.now += 3600.0
    assert clock.forbids(frozenset({1}))
    clock.pass_by(LONGEST_S)
    assert clock.forbids(frozenset({1}))
    clock.pass_by(1.0)
    assert not clock.forbids(frozenset({1}))


def test_where_nothing_was_under_way_nothing_is_waited_for() -> None:
    """A host that slept goes on at once."""
    clock = times()
    clock.forbids()
    clock.now += 8 * 3600.0
    assert not clock.forbids()


def test_what_others_have_under_way_is_waited_for() -> None:
    """Whoever is not alone waits until no lease of before can be held any more, of each kind of work by itself."""
    clock = times(has_others=True)
    clock.forbids()
    clock.now += 3600.0
    assert not clock.forbids()
    assert clock.leaps.others_may_hold(30.0)
    clock.pass_by(HEARD_LATE_S + 29.0)
    assert (clock.leaps.others_may_hold(30.0), clock.leaps.others_may_hold(120.0)) == (True, True)
    clock.pass_by(1.0)
    assert (clock.leaps.others_may_hold(30.0), clock.leaps.others_may_hold(120.0)) == (False, True)


def test_who_is_alone_waits_for_nobody_else() -> None:
    """Its own work is known."""
    clock = times()
    clock.forbids()
    clock.now += 3600.0
    assert not clock.forbids()
    assert not clock.leaps.others_may_hold(120.0)
