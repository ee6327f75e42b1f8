"""Jobs: what a webhook lacks is asked for, a running build is looked at, and neither goes on for ever."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from sqlalchemy import select

from bot.domain.builds import BuildStatus
from bot.domain.events import Event
from bot.domain.subjects import SubjectKey
from bot.errors import AuthFailed, DestinationGone, RateLimited, Rejected, Unavailable
from bot.services.jobs import MOST_TRIES
from bot.storage.tables import events
from tests.build_fakes import FakeBuildSystem
from tests.services.world import CI, World
from tests.stores import event_of, key_of

pytestmark = pytest.mark.one_engine


class Asked(list[float]):
    """When the source was asked, in seconds after the start; `fails` holds errors for the next times."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: list[Exception] = []

    @property
    def pauses(self) -> list[int]:
        """Seconds between one time and the next."""
        return [round(later - earlier) for earlier, later in pairwise(self)]


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A world whose builds can be asked for."""
    world = make_world(readable=frozenset({"buildbot"}))
    world.builds.now = world.clock.now()
    return world


@pytest.fixture
def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """A watch on the source."""
    start, times, fetch = world.clock.now(), Asked(), FakeBuildSystem.fetch

    def fetch_noted(self: FakeBuildSystem, key: SubjectKey, *, with_log: bool) -> Event:
        times.append((world.clock.now() - start).total_seconds())
        if times.fails:
            raise times.fails.pop(0)
        return fetch(self, key, with_log=with_log)

    monkeypatch.setattr(FakeBuildSystem, "fetch", fetch_noted)
    return times


def _start(world: World, *, is_finished: bool) -> SubjectKey:
    key = world.builds.start()
    if is_finished:
        world.builds.finish(key)
    event = FakeBuildSystem.fetch(world.builds, key, with_log=False)
    world.accept(event)
    return key


def _due(world: World) -> float | None:
    return world.store.read(lambda tx: tx.jobs.next_due_at())


def test_a_failed_build_gets_its_log(world: World) -> None:
    """The excerpt comes by a job after the webhook, folds like any event, and changes the card."""
    key = _start(world, is_finished=True)
    world.deliver(5)
    world.enrich()
    world.deliver(5)
    card = world.messenger.posts[CI, world.card(key.number).message_ref or ""].content
    assert "AssertionError: 1 != 2" in str(card)
    assert _due(world) is None


def test_a_running_build_is_looked_at_ever_more_seldom(world: World, asked: Asked) -> None:
    """Every three seconds in its first minute, then every ten, then every minute."""
    _start(world, is_finished=False)
    asked.clear()
    world.enrich(600)
    assert {3, 10, 60} == set(asked.pauses)
    assert sorted(asked.pauses) == asked.pauses
    assert len(asked) < 60


def test_the_looking_ends_with_the_build(world: World, asked: Asked) -> None:
    """A look that finds the end is the last one; the build is then asked for its log once."""
    key = _start(world, is_finished=False)
    world.enrich(10)
    world.builds.finish(key)
    asked.clear()
    world.enrich(600)
    assert len(asked) == 2
    assert _due(world) is None


def test_a_webhook_that_tells_the_end_makes_a_look_needless(world: World, asked: Asked) -> None:
    """The planned look at a build that has ended asks nobody."""
    key = _start(world, is_finished=False)
    world.builds.finish(key)
    world.accept(FakeBuildSystem.fetch(world.builds, key, with_log=False))
    asked.clear()
    world.enrich(600)
    assert len(asked) == 1
    assert _due(world) is None


def test_nothing_new_is_no_event(world: World) -> None:
    """Looks that find what is known leave no trace in the events."""
    _start(world, is_finished=False)
    world.enrich(120)
    with world.database.connect() as connection:
        assert len(list(connection.scalars(select(events.c.id)))) == 1


@pytest.mark.parametrize("is_finished", [True, False])
def test_an_outage_is_waited_for(is_finished: bool, world: World, asked: Asked) -> None:
    """A source that is away is asked after 1, 2, 4 … seconds, and the build gets what it lacks in the end."""
    _start(world, is_finished=is_finished)
    asked.fails = [Unavailable("buildbot", "unreachable")] * 4
    asked.clear()
    world.enrich(40)
    assert asked.pauses[:4] == [1, 2, 4, 8]


def test_a_pause_that_was_asked_for_is_kept(world: World, asked: Asked) -> None:
    """Retry-After of the source is obeyed."""
    _start(world, is_finished=True)
    asked.fails = [RateLimited("buildbot", "rate_limited", 45.0)]
    asked.clear()
    world.enrich(44)
    assert len(asked) == 1
    world.enrich(10)
    assert len(asked) == 2


def test_a_log_that_never_comes_is_given_up(world: World, asked: Asked) -> None:
    """After eight tries the card stays without its log."""
    _start(world, is_finished=True)
    asked.fails = [Unavailable("buildbot", "unreachable")] * 100
    asked.clear()
    world.enrich(7200)
    assert len(asked) == MOST_TRIES
    assert _due(world) is None


def test_a_running_build_is_not_forgotten_in_a_long_outage(world: World, asked: Asked) -> None:
    """A look goes on for as long as the source is away, seldom, and shows the end when it is back."""
    key = _start(world, is_finished=False)
    asked.fails = [Unavailable("buildbot", "unreachable")] * 20
    world.builds.finish(key)
    world.enrich(4 * 3600)
    record = world.store.read(lambda tx: tx.subjects.get(key))
    assert record is not None
    assert record.build().status is BuildStatus.FAILED
    assert len(asked) < 30


def test_a_refusal_ends_the_asking_for_a_log(world: World, asked: Asked) -> None:
    """A source that refuses the credential is not asked again for what a finished build's card lacks."""
    _start(world, is_finished=True)
    asked.fails = [AuthFailed("buildbot", "http_401")]
    asked.clear()
    world.enrich(3600)
    assert len(asked) == 1
    assert _due(world) is None


@pytest.mark.parametrize(
    "refusal",
    [
        AuthFailed("buildbot", "http_401"),
        DestinationGone("buildbot", "builder_gone"),
        DestinationGone("buildbot", "unknown_project"),
        Rejected("buildbot", "http_400"),
    ],
    ids=lambda refusal: refusal.reason,
)
def test_a_refusal_leaves_no_card_running(refusal: Exception, world: World, asked: Asked) -> None:
    """A running build is looked at again, seldom, however its source refuses; the end is shown when it is seen."""
    key = _start(world, is_finished=False)
    world.deliver(5)
    asked.fails = [refusal] * 20
    world.enrich(3600)
    world.builds.finish(key)
    asked.clear()
    world.enrich(7200)
    world.deliver(5)
    assert world.messenger.standing(CI)[0].endswith("failed")
    assert max(asked.pauses) <= 600


def test_a_build_that_its_source_has_lost_ends(world: World, asked: Asked) -> None:
    """Told five times in a row that there is no such build, the card says that it ended, nobody knows how."""
    key = _start(world, is_finished=False)
    world.deliver(5)
    del world.builds.runs[key]
    asked.clear()
    world.enrich(60)
    world.deliver(5)
    assert world.messenger.standing(CI)[0].endswith("running")
    world.enrich(3600)
    world.deliver(5)
    assert world.messenger.standing(CI)[0].endswith("ended, outcome unknown")
    assert len(asked) == 5 + 1  # and once for what the card of an ended build lacks
    assert _due(world) is None


def test_what_is_heard_of_a_lost_build_counts_after_all(world: World) -> None:
    """A late word on how it ended corrects the card, though it is about an earlier moment."""
    key = _start(world, is_finished=False)
    run = world.builds.runs.pop(key)
    world.enrich(3600)
    world.builds.runs[key] = run
    world.builds.finish(key)
    world.accept(world.builds.fetch(key, with_log=False))
    record = world.store.read(lambda tx: tx.subjects.get(key))
    assert record is not None
    assert record.build().status is BuildStatus.FAILED


def test_an_answer_between_makes_a_lost_build_found(world: World, asked: Asked) -> None:
    """A source that has the build again, after it had not, is looked at as before."""
    key = _start(world, is_finished=False)
    lost = DestinationGone("buildbot", "no_such_build")
    asked.fails = [lost, lost, lost, lost, Unavailable("buildbot", "unreachable"), lost, lost]
    world.enrich(3600)
    record = world.store.read(lambda tx: tx.subjects.get(key))
    assert record is not None
    assert not record.build().is_finished
    assert _due(world) is not None


def test_a_build_that_is_not_heard_of_for_a_week_ends(world: World, asked: Asked) -> None:
    """An outage that does not end leaves no card running for ever."""
    _start(world, is_finished=False)
    world.deliver(5)
    asked.fails = [AuthFailed("buildbot", "http_401")] * 10
    world.enrich(10)
    world.clock.advance(7 * 86400)
    world.enrich(10)
    world.deliver(5)
    assert world.messenger.standing(CI)[0].endswith("ended, outcome unknown")


def test_a_look_goes_for_one_attempt(world: World) -> None:
    """A second attempt under the same number is looked at anew."""
    world.accept(event_of(7))
    world.accept(event_of(7, BuildStatus.FAILED, at=5, started=0))
    world.enrich(1)
    world.accept(event_of(7, at=20, attempt=2))
    assert _due(world) is not None
    jobs = world.store.write(lambda tx: tx.jobs.lease(world.clock.now().timestamp() + 60, 1e12, 10))
    assert {job.subject for job in jobs} == {str(key_of(7))}
    assert any(job.key.endswith(".2") for job in jobs)


def test_a_job_of_another_worker_is_left_alone(world: World, asked: Asked) -> None:
    """Two workers never ask for the same build at once; when one dies the other takes over."""
    _start(world, is_finished=True)
    asked.clear()
    assert len(world.jobs.claim(4)) == 1
    assert world.jobs.claim(4) == []
    world.clock.advance(31)
    world.enrich()
    assert len(asked) == 1
