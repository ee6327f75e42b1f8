"""Mistakes of our own: what nobody expected of one piece of work ends, is said, and stops nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from bot.domain.builds import BuildStatus
from bot.domain.places import Capabilities, Place
from bot.domain.routing import Match, Route
from bot.domain.subjects import SubjectKey
from bot.ports import DestinationLease, Triggered
from bot.services.dispatcher import carry_out
from bot.services.jobs import MOST_TRIES
from bot.storage.deliveries import SqlDeliveries
from bot.storage.tables import commands, subjects
from tests.build_fakes import FakeBuildSystem
from tests.services.world import CI, DEV, World
from tests.stores import event_of, key_of

pytestmark = pytest.mark.one_engine

FAILED = BuildStatus.FAILED
BOTH = (Route("routes[0]", Match(), ("ci", "dev")),)


@dataclass(slots=True)
class FaultyBuildSystem(FakeBuildSystem):
    """Raises what no port promises, before or after a retry happens."""

    fault: Exception | None = None
    is_done: bool = False
    faults: int = 0

    def retry(self, key: SubjectKey, *, correlation: str, asked_by: str) -> Triggered:
        """See `BuildControl`."""
        if self.fault is not None and not self.is_done:
            self.faults += 1
            raise self.fault
        triggered = FakeBuildSystem.retry(self, key, correlation=correlation, asked_by=asked_by)
        if self.fault is not None:
            self.faults += 1
            raise self.fault
        return triggered

    def find_run(
        self, project: str, *, correlation: str, since: datetime, retried: SubjectKey | None
    ) -> Triggered | None:
        """See `BuildControl`."""
        if self.fault is not None and self.is_done:
            self.faults += 1
            raise self.fault
        return FakeBuildSystem.find_run(self, project, correlation=correlation, since=since, retried=retried)

    def list_builds(self, project: str, limit: int) -> list[None]:  # type: ignore[override] # nonsense is the point
        """See `BuildReader`."""
        return [None]


def _failed_world(make_world: Callable[..., World], **faults: object) -> World:
    builds = FaultyBuildSystem(**faults)  # type: ignore[arg-type] # fields by name
    world = make_world(builds=builds)
    key = builds.start()
    builds.finish(key)
    world.accept(builds.fetch(key, with_log=False))
    builds.now = world.clock.now()
    return world


def test_a_command_that_hits_a_mistake_ends_after_its_tries(make_world: Callable[..., World]) -> None:
    """A retry that raises what nobody expected is tried four times, closed, said and recorded: it never loops."""
    world = _failed_world(make_world, fault=KeyError("ours"))
    world.ask("retry user-service#1")
    world.work(600)
    assert world.builds.faults == 1 + 3  # type: ignore[attr-defined] # a FaultyBuildSystem
    assert world.open_commands() == 0
    assert world.states() == ["failed"]
    assert [words.partition(":")[0] for words in world.said] == ["No build of user-service was started"]
    assert world.trail()[-1] == ("slack:U1", "retry", "build:buildbot/user-service#1", "failed:not_done")


def test_a_mistake_after_the_trigger_triggers_nothing_twice(make_world: Callable[..., World]) -> None:
    """Where the run was asked for before the mistake, the person is asked to look, and one run stands."""
    world = _failed_world(make_world, fault=KeyError("ours"), is_done=True)
    world.ask("retry user-service#1")
    world.work(3600)
    assert len(world.builds.requests) == 1
    assert ["look at the build before you ask again" in words for words in world.said] == [True]
    assert world.open_commands() == 1
    world.clock.advance(7 * 86400)
    world.work(600)
    assert (world.states(), world.open_commands()) == (["in_doubt"], 0)
    world.builds.fault = None  # type: ignore[attr-defined] # a FaultyBuildSystem
    world.ask("retry user-service#1", "U2")
    world.work(5)
    assert world.said[-1] == "U1 has done this already → user-service#2"
    assert len(world.builds.requests) == 1


def test_a_mistake_that_passes_is_not_noticed(make_world: Callable[..., World]) -> None:
    """A run that was triggered before a passing mistake is found, adopted and told of."""
    world = _failed_world(make_world, fault=KeyError("ours"), is_done=True)
    world.ask("retry user-service#1")
    world.work()
    world.builds.fault = None  # type: ignore[attr-defined] # a FaultyBuildSystem
    world.work(60)
    assert (world.said, len(world.builds.requests)) == (["Started build user-service#2"], 1)


def test_a_question_that_hits_a_mistake_is_answered_with_that(make_world: Callable[..., World]) -> None:
    """A command that only looks changed nothing, and says so."""
    world = _failed_world(make_world)
    world.ask("builds user-service")
    world.work(600)
    assert [words.partition(".")[0] for words in world.said] == ["Something went wrong in me and nothing was done"]
    assert (world.states(), world.open_commands()) == (["failed"], 0)


def test_an_answer_that_hits_a_mistake_leaves_the_command_done(make_world: Callable[..., World]) -> None:
    """What was done stays done and is recorded once, though it can never be said."""
    world = _failed_world(make_world)
    world.responder.fails = [KeyError("ours")] * 50
    world.ask("retry user-service#1")
    world.work(1200)
    assert (world.states(), world.open_commands(), len(world.builds.requests)) == (["done"], 0, 1)
    assert [outcome for _, _, _, outcome in world.trail()] == ["started", "done:build:buildbot/user-service#2"]


def test_a_command_that_cannot_be_read_stops_no_other(world: World) -> None:
    """A row of another version is closed; the command after it is answered."""
    for typed in ("status", "help"):
        world.ask(typed)
    world.clock.advance(1)
    with world.database.begin() as connection:
        connection.execute(
            update(commands).where(commands.c.typed == "status").values(actor={"account": "slack:U1", "rank": 3})
        )
    world.work(5)
    assert world.said == ["What I can do"]
    assert sorted(world.states()) == ["done", "failed"]


def test_a_subject_that_cannot_be_read_stops_no_other_card(make_world: Callable[..., World]) -> None:
    """One build's unreadable state is a dead letter with a reason; the next build's card is shown."""
    world = make_world(routes=BOTH)
    world.accept(event_of(1), event_of(2))
    with world.database.begin() as connection:
        connection.execute(update(subjects).where(subjects.c.key == str(key_of(1))).values(folded={"phase": 9}))
    world.deliver(10)
    assert [world.messenger.titles(place) for place in (CI, DEV)] == [["user-service #2 · running"]] * 2
    assert world.card(1).reason == "dead:unreadable"


def test_cards_that_cannot_be_listed_stop_no_other_place(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their destination rests; the other one goes on."""
    world, due_cards = make_world(routes=BOTH), SqlDeliveries.due_cards

    def fail_at_one(self: SqlDeliveries, destination: str, *more: Any) -> Any:
        if destination == CI:
            raise ValueError("ours")
        return due_cards(self, destination, *more)

    world.accept(event_of())
    with monkeypatch.context() as patch:
        patch.setattr(SqlDeliveries, "due_cards", fail_at_one)
        world.deliver(10)
    assert world.messenger.titles(DEV) == ["user-service #12 · running"]
    world.deliver(60)
    assert world.messenger.titles(CI) == ["user-service #12 · running"]


@pytest.fixture
def half_broken(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> World:
    """A messenger that fails at judging one place."""
    world = make_world(routes=BOTH)
    judge = type(world.messenger).capabilities

    def judge_or_fail(self: object, place: Place) -> Capabilities:
        if place.key == CI:
            raise RuntimeError("ours")
        return judge(world.messenger, place)

    monkeypatch.setattr(type(world.messenger), "capabilities", judge_or_fail)
    return world


def test_a_place_that_cannot_be_judged_stops_no_other(half_broken: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It rests with a reason, and is shown what it missed when the mistake is gone."""
    half_broken.accept(event_of())
    half_broken.deliver(10)
    assert half_broken.messenger.titles(DEV) == ["user-service #12 · running"]
    monkeypatch.undo()
    half_broken.deliver(60)
    assert half_broken.messenger.titles(CI) == ["user-service #12 · running"]


def test_a_mistake_in_settling_rests_one_place_and_posts_nothing_twice(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card whose settling fails is looked for before it is posted again."""
    world = make_world(routes=BOTH)
    world.accept(event_of())
    settle = type(world.deliverer)._settle
    faults = []

    def settle_or_fail(self: object, delivery: object, outcome: object) -> None:
        if not faults:
            faults.append(delivery)
            raise RuntimeError("ours")
        settle(world.deliverer, delivery, outcome)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(type(world.deliverer), "_settle", settle_or_fail)
    world.deliver(20)
    assert [world.operations(place) for place in (CI, DEV)] == [["post"], ["post"]]
    assert not world.card(place=CI).attempt_id
    assert not world.card(place=DEV).attempt_id


def test_an_address_that_hits_a_mistake_rests(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected failure to resolve one address leaves the others alone."""
    world = make_world(routes=BOTH, is_resolved=False)
    resolve = type(world.messenger).resolve

    def resolve_or_fail(self: object, address: str) -> Place:
        if address == "slack:#ci":
            raise RuntimeError("ours")
        return resolve(world.messenger, address)

    monkeypatch.setattr(type(world.messenger), "resolve", resolve_or_fail)
    world.accept(event_of())
    world.deliver(20)
    assert world.messenger.titles(DEV) == ["user-service #12 · running"]
    monkeypatch.undo()
    world.deliver(60)
    assert world.messenger.titles(CI) == ["user-service #12 · running"]


def test_a_search_that_took_too_long_is_not_followed_by_a_post(world: World) -> None:
    """A post that would outlive its lease is left to the next holder: nothing stands twice."""
    world.messenger.is_idempotent = True  # else it is only looked for
    world.accept(event_of())
    world.claim()
    world.clock.advance(31)
    slow = world.claim()
    find = type(world.messenger).find

    def find_slowly(_self: object, place: Place, **asked: Any) -> str | None:
        world.clock.advance(25)
        return find(world.messenger, place, **asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.messenger), "find", find_slowly)
        carry_out(world.deliverer, slow[0])
    assert (world.operations(), world.card().reason) == ([], "failed:slow_search")
    world.deliver(30)
    assert world.operations() == ["post"]


def test_a_reset_ci_is_not_acted_upon(make_world: Callable[..., World]) -> None:
    """A press on a card from before the CI's database was reset changes nothing, and says why."""
    world = _failed_world(make_world)
    builds = world.builds
    builds.runs.clear()
    builds.now += timedelta(days=1)
    newer = builds.start()
    world.ask("cancel user-service#1")
    world.ask("retry user-service#1")
    world.work(10)
    assert (
        world.said
        == ["This build no longer exists: the CI's database was reset, its number is another build's now."] * 2
    )
    assert builds.runs[newer].facts.status is BuildStatus.RUNNING
    assert builds.requests == []
    assert {outcome.partition(":")[0] for *_, outcome in world.trail()} == {"started", "conflict"}
    world.accept(builds.fetch(newer, with_log=False))
    world.ask("cancel user-service#1")
    world.work(10)
    assert world.said[-1] == "user-service#1 is being cancelled."


def test_each_attempt_that_fails_notifies(world: World) -> None:
    """A re-run under the same number that fails again is one more notice in the thread, and a repeat of it is none."""
    world.accept(event_of(status=FAILED, at=5, started=0, log="boom"))
    world.deliver(10)
    world.accept(event_of(at=20, attempt=2))
    for log in ("one", "two"):
        world.accept(event_of(status=FAILED, at=30, started=20, attempt=2, log=log))
        world.deliver(10)
    notices = [title for title in world.messenger.titles(CI) if "·" not in title]
    assert notices == ["user-service#12 failed on main"] * 2
    assert {slot for _, slot in world.slots()} == {"card", "notice", "notice@2"}


@dataclass(slots=True)
class SlowBuildSystem(FakeBuildSystem):
    """Takes as long as a call may."""

    wait: Callable[[], None] = field(default=lambda: None)

    def fetch(self, key: SubjectKey, *, with_log: bool) -> object:  # type: ignore[override] # passed on
        """See `BuildReader`."""
        self.wait()
        return FakeBuildSystem.fetch(self, key, with_log=with_log)

    def retry(self, key: SubjectKey, *, correlation: str, asked_by: str) -> Triggered:
        """See `BuildControl`."""
        self.wait()
        return FakeBuildSystem.retry(self, key, correlation=correlation, asked_by=asked_by)

    def follow(self, project: str, request: str, *, correlation: str = "") -> SubjectKey | None:
        """See `BuildControl`."""
        self.wait()
        return FakeBuildSystem.follow(self, project, request, correlation=correlation)


def test_a_command_keeps_its_lease_through_calls_that_take_their_whole_time(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call may take eight seconds and an answer four of them: no other worker gets hold of the command."""
    builds = SlowBuildSystem()
    world = make_world(builds=builds)
    taken: list[object] = []

    def wait(seconds: float = 8.0) -> None:
        world.clock.advance(seconds)
        taken.extend(world.take())

    key = builds.start()
    builds.finish(key)
    world.accept(builds.fetch(key, with_log=False))
    builds.wait = wait
    look_up, respond = type(world.directory).look_up, type(world.responder).respond
    monkeypatch.setattr(type(world.directory), "look_up", lambda self, name: (wait(), look_up(self, name))[1])
    monkeypatch.setattr(type(world.responder), "respond", lambda self, *said: (wait(32.0), respond(self, *said))[1])
    world.ask("retry user-service#1")
    carry_out(world.worker, world.take()[0])
    assert taken == []
    assert world.said == ["Started build user-service#2"]


@pytest.mark.parametrize("kind", ["enrich", "poll"])
def test_a_job_that_hits_a_mistake_ends(
    kind: str, make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody can understand is asked for eight times where a log lacks, seldom, for a week, where the end does."""
    world = make_world(readable=frozenset({"buildbot"}))
    key = world.builds.start()
    if kind == "enrich":
        world.builds.finish(key)
    world.accept(world.builds.fetch(key, with_log=False))
    asked: list[int] = []
    monkeypatch.setattr(type(world.builds), "fetch", lambda *_args, **_named: asked.append(1) or 1 / 0)
    world.enrich(3600)
    assert len(asked) == MOST_TRIES if kind == "enrich" else MOST_TRIES < len(asked) < 30
    world.clock.advance(7 * 86400)
    world.enrich(10)
    assert world.store.read(lambda tx: tx.jobs.next_due_at()) is None


def test_a_job_that_cannot_be_read_stops_no_other(make_world: Callable[..., World]) -> None:
    """A row that names no subject ends by itself; the build beside it is asked for."""
    world = make_world(readable=frozenset({"buildbot"}))
    now = world.clock.now().timestamp()
    world.store.write(lambda tx: tx.jobs.add("enrich:x", "enrich", "nonsense", {}, due_at=now - 1, at=now))
    key = world.builds.start()
    world.builds.finish(key)
    world.accept(world.builds.fetch(key, with_log=False))
    world.enrich(3600)
    record = world.store.read(lambda tx: tx.subjects.get(key))
    assert record is not None
    assert record.build().facts.log_excerpt
    assert world.store.read(lambda tx: tx.jobs.next_due_at()) is None


def test_a_job_of_a_newer_version_is_left_to_it(make_world: Callable[..., World]) -> None:
    """What this version does not know waits a day for a process that does, and stops no other job."""
    world = make_world(readable=frozenset({"buildbot"}))
    now = world.clock.now().timestamp()
    world.store.write(lambda tx: tx.jobs.add("sing:x", "sing", "nonsense", {}, due_at=now - 1, at=now))
    key = world.builds.start()
    world.builds.finish(key)
    world.accept(world.builds.fetch(key, with_log=False))
    world.enrich(23 * 3600)
    record = world.store.read(lambda tx: tx.subjects.get(key))
    assert record is not None
    assert record.build().facts.log_excerpt
    assert world.store.read(lambda tx: tx.jobs.next_due_at()) is not None
    world.enrich(2 * 3600)
    assert world.store.read(lambda tx: tx.jobs.next_due_at()) is None


def test_a_lease_that_was_lost_is_no_mistake(world: World) -> None:
    """Work of another holder is left to it, uncounted."""
    world.accept(event_of())
    late = world.claim()[0]
    world.clock.advance(31)
    assert isinstance(late.lease, DestinationLease)
    world.deliver(5)
    carry_out(world.deliverer, late)
    assert world.card().tries == 0
