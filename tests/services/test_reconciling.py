"""Builds whose webhooks were lost: found in their source's history, shown like any other, never twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from bot.domain.builds import BuildStatus
from bot.domain.subjects import SubjectKey
from bot.errors import AuthFailed
from bot.services.jobs import JobWorker
from bot.services.reconciling import PERIOD_S, plan_reconciling
from bot.services.sources import Sources
from bot.storage.tables import events, jobs
from tests.build_fakes import FakeBuildSystem
from tests.services.world import CI, World

NOTICE = "user-service#2 failed on main: tests.Sum.test_sum"
HOUR = 3600.0
FOUND_WITHIN_S = 2 * PERIOD_S + 5


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A world that has just been set up, over a CI system with a past; its clock is the CI system's."""
    world = make_world(readable=frozenset({"buildbot"}))
    world.builds.finish(world.builds.start())
    world.builds.now = world.clock.now()
    plan_reconciling(world.store, world.clock, world.sources)
    run(world, PERIOD_S + 5)
    return world


def run(world: World, seconds: float) -> None:
    """Let the worker do its jobs for a while, and the places be told."""
    world.enrich(seconds)
    world.builds.now = world.clock.now()
    world.deliver(5)


def found(world: World) -> float:
    """How many builds were found so far, by the metric."""
    return REGISTRY.get_sample_value("shipmate_reconciled_total", {"source": "buildbot"}) or 0.0


def count_events(world: World) -> int:
    """How many events there are."""
    with world.database.connect() as connection:
        return len(list(connection.scalars(select(events.c.id))))


def push(world: World, key: SubjectKey) -> None:
    """The webhook that is not lost."""
    world.accept(world.builds.fetch(key, with_log=False))


def test_the_past_is_not_shown(world: World) -> None:
    """Builds from before the bot was set up stay where they are."""
    run(world, 300)
    assert world.messenger.standing(CI) == []
    assert count_events(world) == 0


def test_a_build_nobody_told_of_gets_its_card(world: World) -> None:
    """Both webhooks were lost: within two minutes of its start it is shown, and its end when it has one."""
    before = found(world)
    key = world.builds.start()
    run(world, FOUND_WITHIN_S)
    assert world.messenger.standing(CI) == ["user-service #2 · running"]
    world.builds.finish(key)
    run(world, 60)
    assert world.messenger.standing(CI)[0] == "user-service #2 · failed"
    assert found(world) == before + 1


def test_a_build_that_began_and_ended_unheard_gets_its_card(world: World) -> None:
    """Its end, its log and its notice come as if it had been told of."""
    world.builds.finish(world.builds.start())
    run(world, FOUND_WITHIN_S)
    run(world, 60)
    assert world.messenger.standing(CI) == ["user-service #2 · failed", NOTICE]
    card = world.messenger.posts[CI, world.card(2).message_ref or ""].content
    assert "AssertionError: 1 != 2" in str(card)


@pytest.mark.parametrize("delay_s", [0.0, 3.0, PERIOD_S])
def test_a_build_that_is_told_of_leaves_no_trace(world: World, delay_s: float) -> None:
    """A webhook that is only late is not overtaken; what is known is not stored again."""
    before = found(world)
    for _ in range(3):
        key = world.builds.start()
        run(world, delay_s)
        push(world, key)
        run(world, 100)
        world.builds.finish(key, BuildStatus.SUCCESS)
        push(world, key)
        run(world, 100)
    run(world, 200)
    assert found(world) == before
    assert count_events(world) == 6
    assert len(world.messenger.standing(CI)) == 3


def test_the_same_end_heard_twice_is_shown_once(world: World) -> None:
    """A webhook that comes after all, when the build was found already, changes nothing."""
    key = world.builds.start()
    world.builds.finish(key)
    run(world, FOUND_WITHIN_S)
    calls = len(world.messenger.calls)
    push(world, key)
    run(world, 60)
    assert len(world.messenger.calls) <= calls + 1  # the log it came with
    assert len([title for title in world.messenger.standing(CI) if "·" in title]) == 1


def test_what_happened_while_nothing_ran_is_caught_up_with(world: World) -> None:
    """After a night without the bot every build of the night has its card within seconds, in parts."""
    for _ in range(120):
        world.builds.finish(world.builds.start(), BuildStatus.SUCCESS)
    world.clock.advance(8 * HOUR)
    world.builds.now = world.clock.now()
    plan_reconciling(world.store, world.clock, world.sources)
    world.enrich(15)
    assert count_events(world) == 120
    newest = world.store.read(lambda tx: tx.subjects.newest("user-service", 1))
    assert newest[0].build().status is BuildStatus.SUCCESS


def test_what_is_over_for_long_is_no_news(world: World) -> None:
    """Builds that ended more than a day ago are not shown any more."""
    old = world.builds.start()
    world.builds.finish(old)
    world.clock.advance(30 * HOUR)
    world.builds.now = world.clock.now()
    world.builds.finish(world.builds.start())
    run(world, 30)
    assert [title for title in world.messenger.standing(CI) if "·" in title] == ["user-service #3 · failed"]


def test_two_workers_read_the_history_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process plans and takes the same job; while one reads, the other does not."""
    asked: list[str] = []
    begun_since = FakeBuildSystem.begun_since

    def note(self: FakeBuildSystem, mark: str, limit: int) -> object:
        asked.append(mark)
        assert other.claim(4) == []
        return begun_since(self, mark, limit)

    other = JobWorker(world.store, world.clock, world.sources, world.ingest)
    monkeypatch.setattr(FakeBuildSystem, "begun_since", note)
    plan_reconciling(world.store, world.clock, world.sources)
    world.builds.finish(world.builds.start())
    world.enrich(5 * PERIOD_S)
    assert len(asked) == 5
    assert count_events(world) == 2  # the build, and its log


def test_a_worker_that_dies_reading_leaves_it_to_the_next(world: World) -> None:
    """What it took in is known to the next one, which reads the same part again."""
    world.builds.finish(world.builds.start())
    world.clock.advance(PERIOD_S)
    world.enrich()  # marks where things stand
    world.clock.advance(PERIOD_S)
    assert len(world.jobs.claim(4)) == 1
    push(world, next(reversed(world.builds.runs)))
    world.clock.advance(31)
    run(world, 10)
    assert len([title for title in world.messenger.standing(CI) if "·" in title]) == 1


def test_an_outage_of_the_source_is_waited_for(world: World) -> None:
    """However long it is away or refuses, the look goes on, seldom, and finds what began meanwhile."""
    world.builds.finish(world.builds.start())
    world.builds.away = {"begun_since"}
    run(world, 2 * HOUR)
    assert world.messenger.standing(CI) == []
    world.builds.away = set()
    run(world, 310)
    run(world, 10)
    assert world.messenger.standing(CI)[0] == "user-service #2 · failed"


def test_a_mistake_does_not_end_the_looking(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the configuration ends it."""
    with monkeypatch.context() as patch:
        patch.setattr(FakeBuildSystem, "begun_since", lambda *_: 1 / 0)
        world.enrich(HOUR)
    with monkeypatch.context() as patch:
        patch.setattr(FakeBuildSystem, "begun_since", _refuse)
        world.enrich(HOUR)
    world.builds.now = world.clock.now()
    world.builds.finish(world.builds.start())
    run(world, 700)
    assert world.messenger.standing(CI)[0] == "user-service #2 · failed"


def _refuse(*_arguments: object) -> None:
    raise AuthFailed("buildbot", "http_401")


def test_a_source_that_was_taken_out_is_forgotten(world: World) -> None:
    """Its job ends, and nothing is asked."""
    worker = JobWorker(world.store, world.clock, Sources({}, ()), world.ingest)
    world.clock.advance(2 * PERIOD_S)
    for job in worker.claim(4):
        worker.carry_out(job)
    with world.database.connect() as connection:
        assert list(connection.scalars(select(jobs.c.key))) == []


def test_a_new_run_under_an_old_number_is_news(world: World) -> None:
    """After a reset of the CI's database its build 1 is another one, and is shown as such."""
    world.builds.finish(world.builds.start())
    push(world, next(iter(world.builds.runs)))
    run(world, 2 * PERIOD_S)
    world.builds.runs.clear()
    world.builds.now += timedelta(hours=1)
    world.clock.advance(HOUR)
    key = world.builds.start()
    world.builds.finish(key, BuildStatus.SUCCESS)
    run(world, FOUND_WITHIN_S + PERIOD_S)
    assert "user-service #1 · fixed" in world.messenger.standing(CI)
