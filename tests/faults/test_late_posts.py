"""Platforms that carry a post out long after we hung up on them, by an injected clock: how often it stands then."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from prometheus_client import REGISTRY

from bot.domain.builds import BuildStatus
from bot.errors import AuthFailed, OutcomeUnknown, RateLimited, Unavailable
from bot.services.dispatcher import carry_out
from bot.services.signal import Signal
from bot.services.upkeep import Upkeep
from tests.services.world import CI, World
from tests.stores import event_of

SUCCESS = BuildStatus.SUCCESS
SHOWN = ["user-service #12 · succeeded"]


def live_through(world: World, held_s: float, *, slow_for_s: float = 240.0) -> None:
    """A build begins and ends at a platform that makes each post so late, and is well again after some minutes."""
    world.messenger.held_s = held_s
    world.accept(event_of())
    world.deliver(10)
    world.accept(event_of(12, SUCCESS, at=10, started=0))
    world.deliver(slow_for_s)
    world.messenger.held_s = 0.0
    world.deliver(600)


@pytest.mark.parametrize("held_s", [9.0, 30.0, 66.0])
def test_a_post_that_is_made_late_stands_once(held_s: float, world: World) -> None:
    """It is looked for as long as it may be under way, found, and changed to the end."""
    live_through(world, held_s)
    assert (world.messenger.standing(CI), world.card().reason) == (SHOWN, "sent")
    assert world.operations() == ["post", "update"]


def test_a_post_that_is_never_made_is_made_anew_once_it_cannot_come(world: World) -> None:
    """Nobody answers the post, and no look finds it: a minute after we hung up another one is made, and only then."""
    world.messenger.fail(CI, OutcomeUnknown("slack", "timeout"))
    world.accept(event_of())
    world.deliver(67)
    assert (world.operations(), world.card().reason) == ([], "failed:timeout")
    assert 3 <= world.messenger.asked <= 5
    world.deliver(5)
    assert world.operations() == ["post"]
    assert world.attempt_outcomes() == ["absent", "sent"]


@pytest.mark.parametrize("times", [1, 3])
def test_a_post_that_was_broken_off_is_made_anew_within_seconds(times: int, world: World) -> None:
    """The connection was cut, so nobody works on it: it is looked for a little while, each time anew."""
    world.messenger.fail(CI, *[OutcomeUnknown("slack", "no_answer")] * times)
    world.accept(event_of())
    world.deliver(12 if times == 1 else 60)
    assert world.operations() == ["post"]


@pytest.mark.parametrize(
    "problem",
    [
        Unavailable("slack", "unreachable"),
        OutcomeUnknown("slack", "too_many_pages"),
        RateLimited("slack", "rate_limited", 5.0, scope="account"),
        AuthFailed("slack", "token_expired"),
    ],
    ids=lambda problem: problem.reason,
)
def test_a_look_that_fails_does_not_shorten_the_wait(
    problem: Exception, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first looks fail: the post is awaited all the same, and found when it was made after half a minute."""
    find, problems = type(world.messenger).find, [problem, problem]

    def fail(self: object, *arguments: object, **named: object) -> str | None:
        if problems:
            raise problems.pop()
        return find(self, *arguments, **named)  # type: ignore[arg-type] # handed on

    monkeypatch.setattr(type(world.messenger), "find", fail)
    live_through(world, 30.0)
    assert problems == []
    assert (world.messenger.standing(CI), world.operations()) == (SHOWN, ["post", "update"])


def test_a_worker_that_dies_while_a_post_is_awaited_changes_nothing(world: World) -> None:
    """Whoever takes over waits just as long."""
    world.messenger.held_s = 30.0
    world.accept(event_of())
    world.deliver(9)
    world.clock.advance(2)
    assert world.claim()  # a look, and the worker is gone
    world.messenger.held_s = 0.0
    world.deliver(200)
    assert world.operations() == ["post"]
    assert world.card().reason == "found"


def test_two_slow_minutes_cost_no_second_post_anywhere(make_world: Callable[..., World]) -> None:
    """Each of ten builds of a channel has a post that nobody waited for: each stands once."""
    world = make_world()
    world.messenger.held_s = 30.0
    for number in range(10):
        world.accept(event_of(number, branch=str(number)))
    world.deliver(120)
    world.messenger.held_s = 0.0
    world.deliver(1200)
    standing = world.messenger.standing(CI)
    assert len(standing) == len(set(standing)) == 10


def test_where_a_second_post_makes_none_it_is_awaited_as_well(make_world: Callable[..., World]) -> None:
    """An interactive card is known by its attempt: it is posted again under the same name, and not at once."""
    world = make_world()
    world.messenger.is_idempotent = True
    live_through(world, 90.0)
    assert (world.messenger.standing(CI), len(world.attempt_outcomes())) == (SHOWN, 2)


def test_a_change_that_is_made_late_does_not_stay(world: World) -> None:
    """An earlier state arrives half a minute after the end, and undoes it: later the end is shown once more."""
    world.accept(event_of())
    world.deliver(5)
    world.messenger.held_s, world.messenger.holds_changes = 30.0, True
    world.accept(event_of(at=6, commit_title="of long ago"))
    world.deliver(8.5)
    world.messenger.held_s = 0.0
    world.accept(event_of(12, SUCCESS, at=10, started=0))
    world.deliver(10)
    assert world.messenger.standing(CI) == SHOWN
    Upkeep(world.store, world.clock, Signal()).tell_overdue()
    world.deliver(20)
    assert world.messenger.standing(CI) == ["user-service #12 · running"]
    world.deliver(35)
    Upkeep(world.store, world.clock, Signal()).tell_overdue()
    world.deliver(30)
    assert (world.messenger.standing(CI), world.card().shown_revision) == (SHOWN, world.card().wanted_revision)
    assert world.operations() == ["post", "update", "update", "update"]
    assert world.slots() == {(CI, "card")}  # and nobody is told that it is late


def test_a_newer_end_before_that_is_shown_at_once(world: World) -> None:
    """What the end is to be shown once more for delays nothing, and is not forgotten either."""
    world.accept(event_of())
    world.deliver(5)
    world.messenger.held_s, world.messenger.holds_changes = 30.0, True
    world.accept(event_of(at=6, commit_title="of long ago"))
    world.deliver(8.5)
    world.messenger.held_s = 0.0
    world.accept(event_of(12, SUCCESS, at=10, started=0))
    world.deliver(5)
    world.accept(event_of(12, SUCCESS, at=10, started=0, commit_title="of now"))
    told_at = world.clock.now()
    world.deliver(5)
    assert (world.messenger.calls[-1].at - told_at).total_seconds() < 2
    world.deliver(90)
    assert world.messenger.standing(CI) == SHOWN
    assert world.operations() == ["post", "update", "update", "update", "update"]


def test_a_newer_end_during_that_is_shown_at_once(world: World) -> None:
    """It comes while the end before it is being shown."""
    world.accept(event_of())
    world.deliver(5)
    world.messenger.held_s, world.messenger.holds_changes = 30.0, True
    world.accept(event_of(at=6, commit_title="of long ago"))
    world.deliver(8.5)
    world.messenger.held_s = 0.0
    newer = [event_of(12, SUCCESS, at=10, started=0, commit_title="of now")]

    def tell() -> None:
        if newer:
            world.accept(newer.pop())

    world.messenger.before_send = tell
    world.accept(event_of(12, SUCCESS, at=10, started=0))
    told_at = world.clock.now()
    world.deliver(5)
    assert world.operations() == ["post", "update", "update"]
    assert (world.messenger.calls[-1].at - told_at).total_seconds() < 4
    world.deliver(90)
    assert world.messenger.standing(CI) == SHOWN
    assert world.operations() == ["post", "update", "update", "update", "update"]


def test_a_change_that_was_broken_off_is_made_again_whatever_it_shows(world: World) -> None:
    """Nobody knows what stands there then: the state before is shown anew, though it was shown already."""
    world.accept(event_of())
    world.deliver(5)
    world.messenger.fail(CI, OutcomeUnknown("slack", "no_answer"), is_done=True)
    world.accept(event_of(at=6, commit_title="of a moment"))
    world.deliver()
    world.accept(event_of(at=7, commit_title=""))
    world.deliver(30)
    world.accept(event_of(12, SUCCESS, at=40, started=0))
    world.deliver(200)
    assert (world.messenger.standing(CI), world.card().wanted_revision) == (SHOWN, world.card().shown_revision)
    assert world.operations() == ["post", "update", "update", "update"]


def repeated() -> float:
    """How many posts were made a second time."""
    labels = {"platform": "slack", "outcome": "repeated"}
    return REGISTRY.get_sample_value("shipmate_attempts_total", labels) or 0.0


@pytest.fixture(params=["opening", "end"])
def robot(request: pytest.FixtureRequest, make_world: Callable[..., World]) -> World:
    """A place where nothing can be changed or asked for; a build's opening, or the end after it, is to be posted."""
    world = make_world()
    world.messenger.can_find = world.messenger.can_edit = False
    world.accept(event_of())
    if request.param == "end":
        world.deliver(5)
        world.messenger.calls.clear()
        world.accept(event_of(12, SUCCESS, at=10, started=0))
        world.clock.advance(5)  # it waits for no log any more
    return world


def test_a_robots_post_stands_twice_at_most_for_each_doubt(robot: World) -> None:
    """Nobody can be asked: it is posted again after one minute, then two, and each post too many is counted."""
    counted = repeated()
    robot.messenger.held_s = 30.0
    robot.deliver(100)
    robot.messenger.held_s = 0.0
    robot.deliver(600)
    at = [call.at.timestamp() for call in robot.messenger.calls]
    assert len(at) == 3  # two doubts, and the post that was answered
    assert [later - earlier > 55 for earlier, later in pairwise(at)] == [True, True]
    assert (repeated() - counted, robot.card().reason) == (2.0, "repeated")


def test_a_robots_post_whose_worker_died_is_made_again(robot: World) -> None:
    """The lease ends, it is posted again, and `explain` says that it may stand twice."""
    counted, world = repeated(), robot
    (work,) = world.claim()
    world.deliverer._attempt(work)  # type: ignore[arg-type] # carried out, never settled
    world.deliver(40)
    assert (world.operations(), world.card().reason) == (["post", "post"], "repeated")
    assert repeated() - counted == 1.0
    carry_out(world.deliverer, work)  # it was only slow: it settles nothing any more
    assert world.card().reason == "repeated"
