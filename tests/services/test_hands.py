"""Who holds a crew's hands: one kin never all of them, and what takes long none."""

from __future__ import annotations

from bot.services.hands import SLOW_S, Hands, Shares

AT = 1000.0


def filled(hands: Hands, *kins: str, since: float = AT) -> Hands:
    """The same, with a piece of each of these kins begun then."""
    first = len(hands.tickets)
    for number, kin in enumerate(kins, first):
        hands.add(number, kin, since)
    return hands


def most(shares: Shares, kin: str) -> int:
    """How many pieces of a kin may be taken up."""
    take = shares.taker()
    return sum(take(kin) for _ in range(100))


def test_one_kin_leaves_some_hands_to_others() -> None:
    """Of six hands one kin has four; the two that are left are anybody else's."""
    shares = filled(Hands(6, spare=2), "a", "a", "a").shares(AT)
    assert (shares.room, most(shares, "a"), most(shares, "b")) == (3, 1, 4)
    assert not shares.is_tight
    full = filled(Hands(6, spare=2), "a", "a", "a", "a").shares(AT)
    assert (full.room, most(full, "a"), full.is_tight) == (2, 0, True)


def test_what_takes_long_is_done_aside() -> None:
    """After a second a piece frees its hand, as long as there is room on the bench, and there for other kins, too."""
    hands = filled(Hands(4, spare=1, bench=3), "a", "a", "a")
    assert hands.shares(AT + SLOW_S / 2).room == 1
    shares = hands.shares(AT + SLOW_S)
    assert (shares.room, most(shares, "a")) == (3, 2)  # two sit aside, the third seat is others'
    filled(hands, "b", "b")
    assert hands.shares(AT + SLOW_S).room == 2


def test_a_crew_is_stuck_when_nothing_moves_any_more() -> None:
    """All hands and the bench hold what was begun long ago; one piece that is new, or one free hand, is hope."""
    hands = filled(Hands(2, bench=1), "a", "a", "a")
    assert not hands.is_stuck(AT + 10, 20)
    assert hands.is_stuck(AT + 30, 20)
    hands.remove(0)
    assert not hands.is_stuck(AT + 30, 20)
