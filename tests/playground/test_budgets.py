"""The playground's rate limits, in times that the test gives."""

from __future__ import annotations

import pytest

from playground.budgets import Budgets


def test_a_client_at_the_allowed_pace_is_never_refused() -> None:
    """One call a second keeps within one call a second, though each comes a little early."""
    budgets = Budgets()
    assert [budgets.spend("#ci", limit=1, window_s=1.0, now=0.98 * n) for n in range(50)] == [0.0] * 50


def test_a_client_that_is_too_fast_is_told_when_to_come_again() -> None:
    """A refused call is not counted, and the pause that is named is long enough."""
    budgets = Budgets()
    allowed = [budgets.spend("#ci", limit=3, window_s=60.0, now=float(n)) for n in range(3)]
    pause = budgets.spend("#ci", limit=3, window_s=60.0, now=3.0)
    assert allowed == [0.0] * 3
    assert pause == pytest.approx(57.0, abs=0.5)
    assert budgets.spend("#ci", limit=3, window_s=60.0, now=3.0 + pause) == 0.0


def test_budgets_are_counted_apart_until_they_are_cleared() -> None:
    """One channel's calls leave another's alone."""
    budgets = Budgets()
    first, again, other = (budgets.spend(key, limit=1, window_s=60.0, now=1.0) for key in ("#ci", "#ci", "#random"))
    assert (first, again > 0, other) == (0.0, True, 0.0)
    budgets.clear()
    assert budgets.spend("#ci", limit=1, window_s=60.0, now=1.0) == 0.0
