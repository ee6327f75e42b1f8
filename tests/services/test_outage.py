"""Minutes without a platform: afterwards each card takes about one call to show the end of its build, and soon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from bot.domain.budgets import Window
from bot.domain.builds import BuildStatus
from bot.domain.places import Operation
from bot.domain.routing import Match, Route
from bot.errors import IntegrationError, OutcomeUnknown, Unavailable
from bot.services.delivery import Deliverer
from bot.services.signal import Signal
from bot.services.upkeep import Upkeep
from bot.storage.tables import attempts, cards, events
from tests.fakes import FakeIds
from tests.services.world import CI, DEV, World
from tests.stores import event_of

OUTAGE_S = 600.0
BUILDS = 15  # each at two places
CHANGES = 12  # of each build while nobody answers
RUNNING, SUCCESS = BuildStatus.RUNNING, BuildStatus.SUCCESS
QUIET_S = 900.0
SOON_S = 20.0
BOTH = (Route("routes[0]", Match(), ("ci", "dev")),)


def live_through(world: World, standing: int) -> None:
    """Builds change and end while nobody answers; the first `standing` were shown before."""
    upkeep = Upkeep(world.store, world.clock, Signal())
    for number in range(standing):
        world.accept(event_of(number, branch=str(number)))
    world.deliver(standing + 5.0)
    begun = world.clock.now()
    world.messenger.is_away = True
    for step in range(CHANGES):
        for number in range(BUILDS):
            status = RUNNING if step < CHANGES - 1 else SUCCESS
            at = standing + 5.0 + step * OUTAGE_S / CHANGES
            world.accept(event_of(number, status, at=at, started=0, branch=str(number), commit_title=f"step {step}"))
        world.deliver(OUTAGE_S / CHANGES)
        upkeep.tell_overdue()
    assert (world.clock.now() - begun).total_seconds() >= OUTAGE_S
    world.messenger.is_away = False


def test_what_was_to_be_posted_is_posted_once(make_world: Callable[..., World]) -> None:
    """Of 180 events that came meanwhile each build shows its end, by one post at each place and a few questions."""
    world = make_world(routes=BOTH)
    live_through(world, standing=0)
    asked = world.messenger.asked
    world.deliver(60)
    assert [call.operation for call in world.messenger.calls] == [Operation.POST] * 2 * BUILDS
    assert world.messenger.asked - asked <= 4
    for place in (CI, DEV):
        assert sorted(world.messenger.standing(place)) == sorted(
            f"user-service #{number} · succeeded" for number in range(BUILDS)
        )
    with world.database.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(events)) == BUILDS * CHANGES
        assert connection.scalar(select(func.count()).select_from(cards).where(~cards.c.shown_final)) == 0


def test_what_stood_is_changed_once(make_world: Callable[..., World]) -> None:
    """Cards that stood before take one change each; a remark at a place may come first, which finds that it is back."""
    world = make_world(routes=BOTH)
    live_through(world, standing=BUILDS)
    shown = len(world.messenger.calls)
    world.deliver(60)
    made = Counter(call.operation for call in world.messenger.calls[shown:])
    assert made[Operation.UPDATE] == 2 * BUILDS
    assert made[Operation.POST] <= 2
    changed = [call for call in world.messenger.posts.values() if call.operation is Operation.UPDATE]
    assert [call.title.partition("· ")[2] for call in changed] == ["succeeded"] * 2 * BUILDS


def test_ends_that_wait_for_their_turn_afterwards_are_not_remarked_upon(make_world: Callable[..., World]) -> None:
    """Five changes a minute take six minutes for all: nothing but the cards themselves is sent meanwhile."""
    world = make_world(routes=BOTH)
    live_through(world, standing=BUILDS)
    world.messenger.account = {Operation.UPDATE: (Window("slack:T update", 5, 60.0),)}
    upkeep, shown = Upkeep(world.store, world.clock, Signal()), len(world.messenger.calls)
    for _ in range(14):
        world.deliver(30)
        upkeep.tell_overdue()
    made = Counter(call.operation for call in world.messenger.calls[shown:])
    assert made[Operation.UPDATE] == 2 * BUILDS
    assert made[Operation.POST] <= 2
    with world.database.connect() as connection:
        left_out = connection.scalar(
            select(func.count()).select_from(cards).where(cards.c.reason == "filtered:card_follows")
        )
    assert left_out == 2 * BUILDS - made[Operation.POST]


def test_only_what_was_under_way_when_it_began_is_in_doubt(make_world: Callable[..., World]) -> None:
    """Whoever got no answer asks before posting anew, so that an outage leaves no post in doubt but those."""
    world = make_world(routes=BOTH)
    live_through(world, standing=0)
    with world.database.connect() as connection:
        doubts = connection.scalar(select(func.count()).select_from(cards).where(cards.c.attempt_id.is_not(None)))
        tried = connection.scalar(select(func.count()).select_from(attempts))
    assert doubts == 2  # one at each place, begun at the same time
    assert tried is not None
    assert tried > 2 * BUILDS


def end_in_an_outage(world: World) -> list[float]:
    """Builds that were shown end while nobody answers, and nothing else happens; when anybody was called meanwhile."""
    called: list[float] = []
    for number in range(5):
        world.accept(event_of(number, branch=str(number)))
    world.deliver(10)
    world.messenger.is_away = True
    world.messenger.before_send = lambda: called.append(world.clock.now().timestamp())
    for number in range(5):
        world.accept(event_of(number, SUCCESS, at=20, started=0, branch=str(number)))
    world.deliver(QUIET_S)
    return called


def restart(world: World, ids_from: int) -> None:
    """Another process takes over, which has seen nothing."""
    ids, addresses = FakeIds(ids_from), frozenset(one.address for one in world.destinations.values())
    world.deliverer = Deliverer(world.settling, world.clock, ids, {"slack": world.messenger}, addresses)


@pytest.mark.parametrize("is_restarted", [False, True], ids=["same", "restarted"])
def test_when_it_is_back_all_goes_on_within_seconds(world: World, is_restarted: bool) -> None:
    """After a quarter of an hour every card waits for minutes, but one, which finds out for all."""
    called = end_in_an_outage(world)
    if is_restarted:
        restart(world, 1000)
    world.messenger.is_away = False
    world.deliver(SOON_S)
    assert sorted(world.messenger.standing(CI)) == [f"user-service #{number} · succeeded" for number in range(5)]
    assert len(called) <= QUIET_S / 15 + 5 * 11  # its questions, and what they try by themselves


def test_what_several_workers_saw_of_it_is_put_together(world: World) -> None:
    """One that is told by a new card that the platform is back knows of no silence; the next answer lets all go."""
    end_in_an_outage(world)
    restart(world, 1000)
    world.messenger.is_away = False
    world.accept(event_of(9, branch="9"))
    world.deliver(SOON_S)
    assert len(world.messenger.standing(CI)) == 6
    assert world.card(4).shown_final


def test_what_is_asked_for_all_costs_its_card_no_more_tries(world: World) -> None:
    """It would be given up after an hour and a quarter, when all others wait for a day."""
    world.accept(event_of(1))
    world.deliver(5)
    world.messenger.is_away = True
    world.accept(event_of(1, SUCCESS, at=5, started=0))
    world.deliver(QUIET_S)
    early = world.card(1).tries
    world.deliver(2 * QUIET_S)
    assert (early, world.card(1).tries) == (8, 14)


@pytest.mark.parametrize(
    ("problem", "least", "most"),
    [(OutcomeUnknown("slack", "no_answer"), 8, 12), (Unavailable("slack", "connection_refused"), 55, 70)],
    ids=["unknown", "not sent"],
)
def test_a_post_that_may_stand_there_is_repeated_as_seldom_as_before(
    make_world: Callable[..., World], problem: IntegrationError, least: int, most: int
) -> None:
    """Where nobody can be asked each try may be a post too many, unless it certainly was not sent."""
    world = make_world()
    world.messenger.can_find = world.messenger.can_edit = False
    world.messenger.fail(CI, *[problem] * 100)
    world.accept(event_of(1))
    world.deliver(QUIET_S)
    assert least <= 100 - len(world.messenger.fails[CI]) <= most


def test_a_place_that_fails_beside_others_is_asked_no_more_often(make_world: Callable[..., World]) -> None:
    """Its account answers: there is nothing to find out."""
    world = make_world(routes=BOTH)
    world.messenger.fail(DEV, *[Unavailable("slack", "unreachable")] * 100)
    world.accept(event_of(1))
    for second in range(0, 900, 10):
        world.accept(event_of(1, at=second, started=0, commit_title=str(second)))
        world.deliver(10)
    assert 100 - len(world.messenger.fails[DEV]) <= 13
