"""Events in: which slots they open, and what becomes of late, repeated and contradictory ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from bot.domain.builds import BuildStatus
from bot.domain.places import DestinationSettings
from bot.domain.routing import Match, Milestone, Route
from bot.ports import Subscription
from bot.services.ingest import Outcome
from tests.services.world import CI, DEV, World
from tests.stores import NOW, event_of, key_of

RUNNING, SUCCESS, FAILED = BuildStatus.RUNNING, BuildStatus.SUCCESS, BuildStatus.FAILED
OPS = "slack:T/ops"
ON_FAILURE = Route("routes[0]", Match(), ("ci",), when=frozenset({Milestone.FAILED}))


def test_a_redelivery_is_known_and_a_late_running_adds_nothing(world: World) -> None:
    """The same delivery twice is one event; what an older fact says of a finished build changes nothing."""
    done = event_of(status=SUCCESS, at=10, started=0)
    assert world.accept(done) == [Outcome.ACCEPTED]
    assert world.accept(done) == [Outcome.DUPLICATE]
    assert world.accept(event_of(status=RUNNING)) == [Outcome.UNCHANGED]


def test_nothing_comes_of_no_events(world: World) -> None:
    """A webhook without events costs no transaction."""
    assert world.accept() == []


def test_a_card_opens_only_on_failure_and_then_stays_up_to_date(make_world: Callable[..., World]) -> None:
    """`when: [failed]` opens nothing for a running or successful build; once open, every revision dirties it."""
    world = make_world(routes=[ON_FAILURE])
    world.accept(event_of(1), event_of(1, SUCCESS, at=5, started=0))
    assert world.slots(1) == set()
    world.accept(event_of(2, at=10), event_of(2, FAILED, at=15, started=10))
    assert world.slots(2) == {(CI, "card"), (CI, "notice")}
    world.deliver()
    world.accept(event_of(2, at=20, attempt=2))
    assert world.card(2).wanted_revision > world.card(2).shown_revision


def test_several_routes_to_one_place_are_one_card(make_world: Callable[..., World]) -> None:
    """The routes' mentions add up, and a log wanted by one is wanted."""
    routes = [
        Route("routes[0]", Match(), ("ci",), mention=("slack:U1",)),
        Route("routes[1]", Match(), ("ci", "dev"), mention=("slack:U1", "slack:U2"), thread_log=True),
    ]
    world = make_world(routes=routes)
    world.accept(event_of(status=FAILED, log="boom"))
    assert world.slots() == {(place, slot) for place in (CI, DEV) for slot in ("card", "notice", "thread:log")}
    assert world.card().options["mention"] == ["slack:U1", "slack:U2"]


def test_a_log_that_comes_later_opens_its_slot(make_world: Callable[..., World]) -> None:
    """What enrichment brings is put into the thread of the card that stands already."""
    world = make_world(routes=[Route("routes[0]", Match(), ("ci",), thread_log=True)])
    world.accept(event_of(status=FAILED, at=5, started=0))
    assert (CI, "thread:log") not in world.slots()
    world.accept(event_of(status=FAILED, at=5, started=0, log="boom"))
    assert (CI, "thread:log") in world.slots()


@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_a_run_is_fixed_by_one_of_the_same_second(order: tuple[int, ...], world: World) -> None:
    """Two builds that began together: the success with the higher number follows the failure."""
    told = [event_of(9, BuildStatus.FAILED, at=5, started=0), event_of(10, BuildStatus.SUCCESS, at=4, started=0)]
    for index in order:
        world.accept(told[index])
    found = [world.store.read(lambda tx, n=number: tx.subjects.get(key_of(n))) for number in (9, 10)]
    assert [record is not None and record.is_fixed for record in found] == [False, True]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_fixed_is_judged_alike_in_every_order(order: tuple[int, ...], world: World) -> None:
    """A success is fixed when its nearest earlier finished run failed, whichever of them was heard of first."""
    events = [
        event_of(1, FAILED, at=10),
        event_of(2, SUCCESS, at=20),
        event_of(3, SUCCESS, at=30),
        event_of(4, FAILED, at=25, branch="dev"),
    ]
    for index in order:
        world.accept(events[index])
    found = world.store.read(lambda tx: [tx.subjects.get(key_of(number)) for number in (1, 2, 3)])
    assert [record is not None and record.is_fixed for record in found] == [False, True, False]


def test_a_rerun_of_the_same_number_is_not_its_own_repair(world: World) -> None:
    """A second attempt that succeeds is fixed by what ran before the build, not by its own first attempt."""
    world.accept(event_of(1, SUCCESS, at=0))
    world.accept(event_of(2, FAILED, at=10), event_of(2, SUCCESS, at=20, attempt=2))
    record = world.store.read(lambda tx: tx.subjects.get(key_of(2)))
    assert record is not None
    assert not record.is_fixed


def test_a_reset_database_gives_the_number_a_new_card(world: World) -> None:
    """A higher generation is another run: a card of its own, and nothing of the old one is changed."""
    world.accept(event_of(status=FAILED, at=5, started=0, generation=100))
    world.deliver(5)
    world.accept(event_of(at=1000, generation=1100))
    world.deliver(5)
    assert world.messenger.titles(CI)[-1] == "user-service #12 · running"
    assert world.operations() == ["post", "post", "post"]
    assert world.accept(event_of(status=SUCCESS, at=50, generation=100)) == [Outcome.UNCHANGED]


def test_sources_that_can_be_asked_are_asked(make_world: Callable[..., World]) -> None:
    """A running build is polled, a finished one enriched once, and nobody asks about what is shown nowhere."""
    world = make_world(readable=frozenset({"buildbot"}), routes=[Route("routes[0]", Match(branch=("main",)), ("ci",))])
    world.accept(event_of(1), event_of(2, branch="dev"))
    world.clock.advance(60)
    now = world.clock.now().timestamp()
    world.accept(event_of(1, SUCCESS, at=5, started=0))
    jobs = world.store.write(lambda tx: tx.jobs.lease(now, now + 30, 10))
    assert sorted((job.kind, job.subject) for job in jobs) == [("enrich", str(key_of(1))), ("poll", str(key_of(1)))]


def _wish(
    world: World, project: str, place: str, *, is_mute: bool = False, when: tuple[str, ...] = ("finished",)
) -> None:
    wish = Subscription(place, project, is_mute, when, "zh-CN", "slack:U1")
    world.store.write(lambda tx: tx.subscriptions.put(wish, NOW))


def test_what_channels_asked_for_in_chat(world: World) -> None:
    """A mute keeps a routed card away, a subscription opens one in its own language on its own milestones."""
    _wish(world, "user-service", CI, is_mute=True)
    _wish(world, "user-service", OPS, when=("failed",))
    world.accept(event_of(1), event_of(2, FAILED))
    assert world.slots(1) == set()
    assert world.slots(2) == {(OPS, "card"), (OPS, "notice")}
    assert world.card(2, OPS).options["locale"] == "zh-CN"


@pytest.mark.parametrize(
    ("wishes", "shown"),
    [
        ([("*", False), ("user-service", True)], {"billing"}),
        ([("user-service", False), ("*", True)], set()),
        ([("*", True), ("user-service", False)], {"user-service"}),
        ([("user-service", True), ("user-service", False)], {"user-service"}),
        ([("user-service", True), ("*", False)], {"user-service", "billing"}),
    ],
)
def test_the_last_word_about_a_project_counts(
    wishes: list[tuple[str, bool]], shown: set[str], make_world: Callable[..., World]
) -> None:
    """A mute wins over an earlier subscription and is ended by a later one; of one project, it leaves the others."""
    world = make_world(routes=())
    for project, is_mute in wishes:
        _wish(world, project, OPS, is_mute=is_mute)
    for project in ("user-service", "billing"):
        world.accept(event_of(1, FAILED, project=project))
        subject = str(key_of(1, project=project))
        found = world.store.read(lambda tx, subject=subject: tx.cards.of_subject(subject))  # type: ignore[misc] # now
        assert bool(found) == (project in shown)


def test_a_mute_keeps_the_files_cards_away_until_it_is_lifted(world: World) -> None:
    """`subscribe` after `mute` brings back what the file sends, and a mute of everything takes it away."""
    for number, (project, is_mute) in enumerate([("*", True), ("user-service", False), ("user-service", True)]):
        _wish(world, project, CI, is_mute=is_mute)
        world.accept(event_of(number, FAILED))
        assert ((CI, "card") in world.slots(number)) != is_mute


def test_a_subscription_at_a_configured_place_speaks_its_language(make_world: Callable[..., World]) -> None:
    """Times and words are those of the place, where the file says which."""
    destinations = {"ops": DestinationSettings("ops", "slack:#ops", "en", "Asia/Shanghai")}
    world = make_world(routes=(), destinations=destinations)
    _wish(world, "user-service", OPS)
    world.accept(event_of(status=FAILED))
    options = world.card(place=OPS).options
    assert (options["locale"], options["timezone"]) == ("en", "Asia/Shanghai")


def test_a_route_that_waits_is_polled_for(make_world: Callable[..., World]) -> None:
    """A running build that would be shown when it fails is looked at; one that never will be is not."""
    on_failure = Route("routes[0]", Match(branch=("main",)), ("ci",), when=frozenset({Milestone.FAILED}))
    world = make_world(readable=frozenset({"buildbot"}), routes=[on_failure])
    key = world.builds.start()
    world.accept(world.builds.fetch(key, with_log=False), event_of(2, branch="dev"))
    world.builds.finish(key)
    world.enrich(10)
    assert world.slots(1) == {(CI, "card"), (CI, "notice")}
    assert world.store.read(lambda tx: tx.jobs.next_due_at()) is None


def test_what_is_muted_is_not_polled_for(make_world: Callable[..., World]) -> None:
    """Nobody asks about builds that are shown nowhere, whatever they come to."""
    world = make_world(readable=frozenset({"buildbot"}), routes=[ON_FAILURE])
    _wish(world, "user-service", CI, is_mute=True)
    world.accept(event_of(1))
    assert world.store.read(lambda tx: tx.jobs.next_due_at()) is None


def test_a_route_that_matches_later_adds_its_wishes_to_the_card(make_world: Callable[..., World]) -> None:
    """A card that stands gets the mentions of a route that waited for the failure, and its log thread."""
    routes = [
        Route("routes[0]", Match(), ("ci",), mention=("slack:U1",)),
        Route("routes[1]", Match(), ("ci",), when=frozenset({Milestone.FAILED}), mention=("slack:U2",)),
        Route("routes[2]", Match(status=("failed",)), ("ci",), thread_log=True),
    ]
    world = make_world(routes=routes)
    world.accept(event_of())
    assert world.card().options["mention"] == ["slack:U1"]
    world.accept(event_of(status=FAILED, at=5, started=0, log="boom"))
    for slot in ("card", "notice", "thread:log"):
        assert (world.card(slot=slot).options["mention"], world.card(slot=slot).options["log"]) == (
            ["slack:U1", "slack:U2"],
            True,
        )
