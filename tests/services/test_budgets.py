"""An account's budget: never exceeded, urgent calls first, and every channel in its turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from sqlalchemy import select

from bot.domain.budgets import Window
from bot.domain.builds import BuildStatus
from bot.domain.places import DestinationSettings, Operation, Place
from bot.domain.routing import Match, Route
from bot.errors import OutcomeUnknown, RateLimited
from bot.ports import DeliveryQuery
from bot.services import budgeting
from bot.services.planning import CALL_S, LEASE_S
from bot.storage.tables import cards
from tests.fakes import EPOCH, Call, FakeMessenger
from tests.services.world import CI, DEV, World
from tests.stores import event_of, fresh_store, key_of

RUNNING, SUCCESS = BuildStatus.RUNNING, BuildStatus.SUCCESS
BOTH = (Route("routes[0]", Match(), ("ci", "dev")),)
SCOPE = "slack:T:chat.update"


def allow(world: World, calls: int) -> None:
    """Let the workspace take so many changes a minute."""
    world.messenger.account = {Operation.UPDATE: (Window(SCOPE, calls),)}


def updates(world: World, words: str = "") -> list[Call]:
    """The changes that were made, those with `words` in their title."""
    return [c for c in world.messenger.calls if c.operation is Operation.UPDATE and words in c.title]


def at(call: Call) -> float:
    """When a call was made."""
    return call.at.timestamp()


def channels(count: int) -> dict[str, object]:
    """A world's wishes for so many channels, each with a project of its own."""
    names = [f"c{number:03}" for number in range(count)]
    return {
        "routes": [Route(f"routes[{name}]", Match(project=(name,)), (name,)) for name in names],
        "destinations": {name: DestinationSettings(name, f"slack:#{name}") for name in names},
    }


def change(world: World, projects: Sequence[str], status: BuildStatus, *, second: float, number: int = 1) -> None:
    """Let builds that began at the start go on, or end, one after the other."""
    for project in projects:
        text = f"at {second}"
        world.accept(event_of(number, status, at=second, started=0, project=project, commit_title=text))
        world.clock.advance(0.001)


def use_up(world: World, projects: Sequence[str]) -> None:
    """Open a card for each project's build, and let cards end until the budget has no room."""
    change(world, projects, RUNNING, second=0)
    world.deliver(5)
    number = 100
    while world.store.read(lambda tx: _room(world, tx)) > 0:
        for step in (RUNNING, SUCCESS):
            change(world, projects[:1], step, second=number, number=number)
            world.deliver(1)
        number += 1


def _room(world: World, tx: object) -> int:
    (window,) = world.messenger.account[Operation.UPDATE]
    now = at_now(world)
    return window.room(window.fresh(tx.budgets.open(window).spent, now))  # type: ignore[attr-defined]  # a transaction


def test_progress_leaves_half_of_a_budget_to_finals(make_world: Callable[..., World]) -> None:
    """Progress stops at half of the calls; final states of any place still go at once."""
    world = make_world(routes=BOTH)
    allow(world, 4)
    for number in range(1, 4):
        world.accept(event_of(number))
    world.deliver(10)
    for number in range(1, 4):
        world.accept(event_of(number, at=1, started=0, commit_title="new"))
    world.deliver()
    assert len(updates(world)) == 2
    world.accept(event_of(1, SUCCESS, at=20, started=0))
    world.deliver(1.0)
    assert len(updates(world, "succeeded")) == 2


@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 2), st.booleans()), max_size=25))
def test_budgets_are_never_exceeded(steps: list[tuple[int, float, bool]]) -> None:
    """Whatever happens when, no minute holds more calls to a place or method than its budget, and all ends shown."""
    with fresh_store() as (store, database):
        world = World(store, database, BOTH)
        world.messenger.place_interval_s = 3.0
        allow(world, 8)
        for index, (number, pause, is_end) in enumerate(steps):
            world.accept(event_of(number, SUCCESS if is_end else RUNNING, at=index, started=0, commit_title=str(index)))
            world.deliver(pause)
        world.deliver(180)
    for place in (CI, DEV):
        times = [at(call) for call in world.messenger.calls if call.place == place]
        assert all(later - earlier >= 3.0 - 1e-3 for earlier, later in pairwise(times))
        ended = {number for number, _, is_end in steps if is_end}
        assert {f"user-service #{number} · succeeded" for number in ended} <= set(world.messenger.standing(place))
    assert most_in_a_minute(updates(world)) <= 8


def most_in_a_minute(calls: Sequence[Call]) -> int:
    """The most calls that any minute holds."""
    times = [at(call) for call in calls]
    return max((sum(start <= one <= start + 60 for one in times) for start in times), default=0)


def test_each_page_of_a_search_is_a_call(make_world: Callable[..., World]) -> None:
    """Posts in doubt in six busy channels: all are found, though nothing is left for more than one search at a time."""
    wishes = channels(6)
    world = make_world(**wishes)
    world.messenger.account = {Operation.FIND: (Window("slack:T:conversations.history", 5),)}
    world.messenger.pages = 3
    names = list(wishes["destinations"])  # type: ignore[call-overload]  # a dictionary
    for name in names:
        world.messenger.fail(f"slack:T/{name}", OutcomeUnknown("slack", "no_answer"), is_done=True)
    change(world, names, RUNNING, second=0)
    world.deliver(900)
    assert [world.operations(f"slack:T/{name}") for name in names] == [["post"]] * 6
    with world.database.connect() as connection:
        assert list(connection.scalars(select(cards.c.reason))) == ["found"] * 6
    asked = [one.timestamp() for one in world.messenger.asked_at]
    assert max(sum(start <= one <= start + 60 for one in asked) for start in asked) == 5


def test_a_search_that_no_budget_holds_ends(make_world: Callable[..., World]) -> None:
    """Each is a try that counts, ever more seldom: other searches have calls left, and the card is given up one day."""
    world = make_world(**channels(1))
    world.messenger.account = {Operation.FIND: (Window("slack:T:conversations.history", 2),)}
    world.messenger.pages = 3
    world.messenger.fail("slack:T/c000", OutcomeUnknown("slack", "no_answer"), is_done=True)
    change(world, ["c000"], RUNNING, second=0)
    world.deliver(900)
    with world.database.connect() as connection:
        assert connection.execute(select(cards.c.tries)).scalar_one() >= 8
    assert len(world.messenger.asked_at) < 25


def test_a_long_search_comes_to_its_end_though_others_would_take_all(make_world: Callable[..., World]) -> None:
    """More calls are kept for it each time that it had too few; those beside it go on in between."""
    world, window = make_world(), Window("slack:T:conversations.history", 10)
    dues, ends, now = {f"slack:T/C{number:02}": 0.0 for number in range(31)}, [], 0.0
    while LONG not in ends:
        name, now = min(dues.items(), key=lambda one: one[1])
        assert now < 900, "the long search starves"
        dues[name] = _search(world, window, name, 9 if name == LONG else 1, now)
        ends += [name] if dues[name] == now else []
        dues[name] += 1.0 if dues[name] == now else 0.0  # the next post in doubt there
    assert len(ends) > now / 60.0


def test_a_search_ends_before_its_lease_does(make_world: Callable[..., World]) -> None:
    """One that takes longer is a try that counts: another worker would begin it anew, and so on for ever."""
    world = make_world(**channels(1))
    world.messenger.account = {Operation.FIND: (Window("slack:T:conversations.history", 50),)}
    world.messenger.pages, world.messenger.page_s = 40, 1.0
    world.messenger.fail("slack:T/c000", OutcomeUnknown("slack", "no_answer"), is_done=True)
    change(world, ["c000"], RUNNING, second=0)
    world.deliver(10)
    begun = world.messenger.asked_at[0].timestamp()
    assert world.messenger.asked_at[-1].timestamp() - begun <= LEASE_S - CALL_S
    world.deliver(600)
    with world.database.connect() as connection:
        tries, reason = connection.execute(select(cards.c.tries, cards.c.reason)).one()
    assert (tries >= 3, reason) == (True, "failed:timeout")
    world.messenger.page_s = 0.1
    world.deliver(600)
    assert world.operations("slack:T/c000") == ["post"]
    with world.database.connect() as connection:
        assert connection.scalar(select(cards.c.reason)) == "found"


LONG = "slack:T/C15"


def _search(world: World, window: Window, name: str, pages: int, now: float) -> float:
    """A search of so many calls; when to come back where there was no room for it, else `now`."""
    at = EPOCH.timestamp() + now
    calls = world.store.write(lambda tx: budgeting.take(tx, [window], name, is_urgent=True, now=at))
    if isinstance(calls, budgeting.Refusal):
        return now + calls.until - at
    more = budgeting.FurtherCalls(world.store, Place(name, ""), [window], lambda: at)
    until = now
    try:
        for _ in range(pages - 1):
            more()
    except RateLimited as refused:
        until = now + (refused.retry_after_s or 0.0)
    budgeting.end(world.store, (*calls, *more.held), was_made=True, now=at)
    return until


@pytest.mark.slow
def test_two_hundred_channels_share_one_budget(make_world: Callable[..., World]) -> None:
    """Each is served once, and all of them within as many minutes as the budget takes."""
    wishes = channels(200)
    world = make_world(**wishes)
    allow(world, 50)
    names = list(wishes["destinations"])  # type: ignore[call-overload]  # a dictionary
    change(world, names, RUNNING, second=0)
    world.deliver(10)
    change(world, names, SUCCESS, second=30)
    began = at_now(world)
    world.deliver(260)
    finals = updates(world, "succeeded")
    assert sorted(call.place for call in finals) == [f"slack:T/{name}" for name in names]
    assert most_in_a_minute(finals) == 50
    assert at(finals[-1]) - began < 3 * 62


def test_a_busy_channel_takes_one_turn_like_any_other(make_world: Callable[..., World]) -> None:
    """Thirty ends in one channel do not come before those of twenty others that wait too."""
    wishes = channels(21)
    world = make_world(**wishes)
    allow(world, 10)
    busy, *others = list(wishes["destinations"])  # type: ignore[call-overload]  # a dictionary
    for number in range(1, 31):
        change(world, [busy], RUNNING, second=0, number=number)
    change(world, others, RUNNING, second=0)
    world.deliver(40)
    for number in range(1, 31):
        change(world, [busy], SUCCESS, second=60, number=number)
    world.deliver(30)  # the busy one has the whole budget while nobody else wants anything
    assert len(updates(world, "succeeded")) == 10
    change(world, others, SUCCESS, second=90)
    world.deliver(200)
    places = [call.place for call in updates(world, "succeeded")[10:]]
    last = max(index for index, place in enumerate(places) if place != f"slack:T/{busy}")
    assert places[: last + 1].count(f"slack:T/{busy}") <= 3


def test_finals_overtake_progress_that_waits(make_world: Callable[..., World]) -> None:
    """Under an exhausted budget an end that came last goes before all progress."""
    wishes = channels(12)
    world = make_world(**wishes)
    allow(world, 6)
    names = list(wishes["destinations"])  # type: ignore[call-overload]  # a dictionary
    use_up(world, names)
    change(world, names[:9], RUNNING, second=20)
    world.deliver(1)
    change(world, names[9:], SUCCESS, second=21)
    before = len(world.messenger.calls)
    world.deliver(300)
    made = [call for call in world.messenger.calls[before:] if call.operation is Operation.UPDATE]
    assert ["succeeded" in call.title for call in made[:3]] == [True] * 3
    assert len([call for call in made if "running" in call.title]) == 9


def test_progress_that_waits_costs_one_call(make_world: Callable[..., World]) -> None:
    """Fifty revisions while the budget is used up are one change, to the newest."""
    world = make_world(**channels(2))
    allow(world, 4)
    use_up(world, ["c000", "c001"])
    before = len(world.messenger.calls)
    for second in range(50):
        change(world, ["c001"], RUNNING, second=second + 1)
        world.deliver(0.1)
    assert reason(world, "c001") == "paused:budget"
    world.deliver(120)
    (made,) = world.messenger.calls[before:]
    assert "at 50" in str(made.content)


def reason(world: World, project: str) -> str:
    """Why the card of a project's first build is as it is."""
    (card,) = world.store.read(lambda tx: tx.cards.of_subject(str(key_of(1, project=project))))
    return card.reason


def test_one_that_does_not_come_is_passed_by(make_world: Callable[..., World]) -> None:
    """A channel whose turn has come and that its platform holds back does not hold the others."""
    world = make_world(**channels(3))
    allow(world, 4)
    use_up(world, ["c000", "c001", "c002"])
    change(world, ["c001"], SUCCESS, second=40)
    world.deliver(1)
    with world.database.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE destinations SET free_at = {at_now(world) + 600} WHERE key = 'slack:T/c001'"
        )
    change(world, ["c002"], SUCCESS, second=41)
    world.deliver(90)
    assert [call.place for call in updates(world, "succeeded")][-1] == "slack:T/c002"


def test_what_looks_the_same_takes_nothing_from_the_budget(make_world: Callable[..., World]) -> None:
    """Of ten revisions that change nothing to be seen, none counts."""
    world = make_world()
    allow(world, 4)
    world.accept(event_of())
    world.deliver(5)
    for second in range(1, 11):
        world.accept(event_of(at=float(second), started=0, attempt=1))
        world.deliver(5)
    assert updates(world) == []
    assert world.store.read(lambda tx: _room(world, tx)) == 4


def test_a_call_of_a_worker_that_died_counts(make_world: Callable[..., World]) -> None:
    """It may have been made: until a minute after its lease its place in the budget is taken, and then free."""
    world = make_world()
    allow(world, 2)
    world.accept(event_of())
    world.deliver(5)
    world.accept(event_of(status=SUCCESS, at=5, started=0))
    assert len(world.claim()) == 1
    world.clock.advance(85)
    assert world.store.read(lambda tx: _room(world, tx)) == 1
    world.clock.advance(10)
    assert world.store.read(lambda tx: _room(world, tx)) == 2


def test_searches_have_a_budget_of_their_own(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage the platform is asked for lost posts no faster than it may be, and nothing stands twice."""
    wishes = channels(9)
    world = make_world(**wishes)
    world.messenger.account = {Operation.FIND: (Window("slack:T:conversations.history", 3),)}
    asked_at: list[float] = []
    find = type(world.messenger).find

    def note_and_find(messenger: FakeMessenger, place: Place, **more: Any) -> str | None:
        asked_at.append(at_now(world))
        return find(messenger, place, **more)

    monkeypatch.setattr(FakeMessenger, "find", note_and_find)
    names = list(wishes["destinations"])  # type: ignore[call-overload]  # a dictionary
    for name in names:
        world.messenger.fail(f"slack:T/{name}", OutcomeUnknown("slack", "no_answer"), is_done=True)
    change(world, names, RUNNING, second=0)
    world.deliver(400)
    assert len(asked_at) >= 9
    assert max(sum(start <= one <= start + 60 for one in asked_at) for start in asked_at) <= 3
    assert sorted(call.place for call in world.messenger.calls) == [f"slack:T/{name}" for name in names]
    assert world.store.read(lambda tx: tx.deliveries.next_ready_at()) is None


def test_addresses_are_looked_up_at_the_platforms_rate(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new installation with many channels asks for few of them at a time; those that wait say why."""
    world = make_world(is_resolved=False, **channels(9))
    world.messenger.account = {Operation.RESOLVE: (Window("slack:conversations.info", 3),)}
    asked_at: list[float] = []
    resolve = type(world.messenger).resolve

    def note_and_resolve(messenger: FakeMessenger, address: str) -> Place:
        asked_at.append(at_now(world))
        if len(asked_at) == 1:
            raise RateLimited("slack", "ratelimited", 30.0, scope="account")
        return resolve(messenger, address)

    monkeypatch.setattr(FakeMessenger, "resolve", note_and_resolve)
    change(world, [f"c{number:03}" for number in range(9)], RUNNING, second=0)
    (work, *others) = world.deliverer.claim(1)
    assert others == []
    world.deliverer.carry_out(work)
    world.deliver(29)
    assert len(asked_at) == 1
    waiting = world.store.read(lambda tx: tx.inspection.find(DeliveryQuery(is_pending=True), 20))
    assert {one.place_reason for one in waiting} == {"unresolved:ratelimited", "paused:rate_limited"}
    world.deliver(240)
    assert max(sum(start <= one <= start + 60 for one in asked_at) for start in asked_at) <= 3
    assert len(updates(world)) + len(world.messenger.calls) == 9


def at_now(world: World) -> float:
    """The present, in seconds since 1970."""
    return world.clock.now().timestamp()


def test_a_limited_account_says_so(make_world: Callable[..., World]) -> None:
    """A card that waits for the pause of another one names the platform's wish, not our own budget."""
    world = make_world(routes=BOTH)
    allow(world, 50)
    world.accept(event_of())
    world.deliver(5)
    world.messenger.fail(CI, RateLimited("slack", "ratelimited", 40.0, scope="account"))
    world.messenger.fail(DEV, RateLimited("slack", "ratelimited", 40.0, scope="account"))
    world.accept(event_of(status=SUCCESS, at=5, started=0))
    (work, *others) = world.deliverer.claim(1)
    assert others == []
    world.deliverer.carry_out(work)
    world.deliver(5)
    assert {world.card(place=place).reason for place in (CI, DEV)} == {"paused:rate_limited"}
    assert len([one for fails in world.messenger.fails.values() for one in fails]) == 1


def test_budgets_can_be_watched(make_world: Callable[..., World]) -> None:
    """What is left, who waits, for how long calls waited, and until when a platform asked for a pause."""
    world = make_world(**channels(5))
    allow(world, 4)
    use_up(world, [f"c{number:03}" for number in range(5)])
    waited = _sample("shipmate_budget_wait_seconds_sum")
    change(world, ["c003", "c004"], SUCCESS, second=40)
    world.deliver(1)
    budgeting.show(budgeting.reports(world.store, at_now(world)), at_now(world))
    assert _sample("shipmate_budget_available") == 0
    assert _sample("shipmate_budget_waiting") == 2
    assert _sample("shipmate_budget_paused_seconds") == 0
    world.deliver(120)
    world.store.write(lambda tx: tx.pacing.pause(SCOPE, at_now(world) + 30))
    budgeting.show(budgeting.reports(world.store, at_now(world)), at_now(world))
    assert _sample("shipmate_budget_available") == 4
    assert _sample("shipmate_budget_waiting") == 0
    assert _sample("shipmate_budget_paused_seconds") == pytest.approx(30, abs=0.1)
    assert _sample("shipmate_budget_wait_seconds_sum") - waited > 20


def _sample(name: str) -> float:
    return REGISTRY.get_sample_value(name, {"scope": SCOPE}) or 0.0
