"""Decisions that meet each other: approve and reject, or reject and the start, at the same moment and in any order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Engine

from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState, move
from bot.ports import Transaction
from bot.services.dispatcher import Worker, carry_out
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore, make_store

S = DeploymentState
ROUNDS = 4
TOO_LATE = "Too late for that"
WAITS_NOT = "waits for no approval"


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """One service, and a version to deploy."""
    stage = a_stage(store, database)
    stage.build("v1")
    return stage


@pytest.fixture
def other(stage: Stage, database: Engine) -> Iterator[Stage]:
    """Another process over the same database, with the same CI system and clock."""
    store = make_store(database)
    yield a_stage(store, database, stage.world.clock)
    store.close()


def lacks_one(stage: Stage, number: int = 1, version: str = "v1") -> None:
    """One to production that waits for the last of its approvals."""
    stage.ask(f"deploy {SERVICE} {version} to production")
    stage.ask(f"confirm {SERVICE}#{number}")
    stage.ask(f"approve {SERVICE}#{number}", "m2")
    assert stage.state(number) is S.AWAITING_APPROVAL


def at_once(*works: Callable[[], None]) -> None:
    """Do pieces that start at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        barrier.wait(30)
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        list(pool.map(run, works))


def doing(worker: Worker, work: object) -> Callable[[], None]:
    """One piece of work, to be done later."""
    return lambda: carry_out(worker, work)


def said_at_once(stage: Stage, other: Stage, *lines: tuple[str, str]) -> list[str]:
    """What two people are answered whose lines are carried out at the same moment, each in a process of its own."""
    for typed, person in lines:
        stage.world.ask(typed, person, platform="dingtalk" if person.startswith("m") else "slack")
    one, two = stage.world.take()
    accounts = {one.command.actor.account, two.command.actor.account}
    told = [len(its.world.said) for its in (stage, other)]
    at_once(doing(stage.world.worker, one), doing(other.world.worker, two))
    stage.world.work()
    answers = [
        (actor.account, said)
        for its, since in zip((stage, other), told, strict=True)
        for (_, _, actor), said in zip(its.world.responder.answers[since:], its.world.said[since:], strict=True)
    ]
    return [said for account, said in answers if account in accounts]


def said_while_it_begins(stage: Stage, other: Stage, typed: str, person: str) -> str:
    """What somebody is answered whose line is carried out in the moment in which what is due takes its step."""
    [lease] = stage.world.deployments.claim(1)
    stage.world.ask(typed, person)
    [record] = stage.world.take()
    at_once(doing(stage.world.deployments, lease), doing(other.world.worker, record))
    return other.world.said[-1]


def test_a_rejection_before_the_last_approval(stage: Stage) -> None:
    """The approval comes too late and is told so; nothing runs."""
    lacks_one(stage)
    stage.ask(f"reject {SERVICE}#1 not today", "U2")
    assert WAITS_NOT in stage.ask(f"approve {SERVICE}#1", "U3")
    stage.go_on(60)
    assert (stage.state(), stage.deployment().outcome, stage.runs()) == (S.CANCELLED, "rejected", [])
    assert len(stage.deployment().approvals) == 1


def test_a_rejection_after_the_last_approval_and_before_the_start(stage: Stage) -> None:
    """What is queued can still be rejected: nothing runs."""
    lacks_one(stage)
    stage.ask(f"approve {SERVICE}#1", "U3")
    assert stage.state() is S.QUEUED
    stage.ask(f"reject {SERVICE}#1 not today", "U2")
    stage.go_on(60)
    assert (stage.state(), stage.deployment().outcome, stage.runs()) == (S.CANCELLED, "rejected", [])


def test_a_rejection_after_the_start(stage: Stage) -> None:
    """It comes too late and is told so; the run goes on."""
    lacks_one(stage)
    stage.ask(f"approve {SERVICE}#1", "U3")
    stage.go_on(1)
    assert TOO_LATE in stage.ask(f"reject {SERVICE}#1 not today", "U2")
    assert (stage.state(), stage.deployment().rejection, len(stage.runs())) == (S.DEPLOYING, None, 1)


def test_approve_and_reject_in_two_processes(stage: Stage, other: Stage) -> None:
    """Whoever comes first: it is rejected, once, and nothing runs; an approval that came second is told so."""
    for number in range(1, ROUNDS + 1):
        lacks_one(stage, number)
        key = f"{SERVICE}#{number}"
        answers = said_at_once(stage, other, (f"approve {key}", "U3"), (f"reject {key} no", "U2"))
        after = stage.deployment(number)
        assert (after.state, after.outcome) == (S.CANCELLED, "rejected")
        assert any(WAITS_NOT in said for said in answers) is (len(after.approvals) == 1), answers
        stage.go_on(30)
    assert (stage.runs(), other.runs()) == ([], [])
    outcomes = [outcome for _, verb, _, outcome in stage.world.trail() if verb == "reject"]
    assert outcomes == ["cancelled:rejected"] * ROUNDS


def test_two_last_approvals_in_two_processes(stage: Stage, other: Stage) -> None:
    """Of two people who agree at the same moment one completes it, and the other is told that it waits no more."""
    for number in range(1, ROUNDS + 1):
        lacks_one(stage, number)
        key = f"{SERVICE}#{number}"
        answers = said_at_once(stage, other, (f"approve {key}", "U3"), (f"approve {key}", "U2"))
        after = stage.deployment(number)
        assert (after.state, len(after.approvals)) == (S.QUEUED, 2)
        assert sum(WAITS_NOT in said for said in answers) == 1, answers
        stage.ask(f"reject {SERVICE}#{number} next", "U2")


def test_a_rejection_while_it_begins(stage: Stage, other: Stage) -> None:
    """Either it is rejected and nothing runs, or it began and the rejection is told that it came too late."""
    for number in range(1, ROUNDS + 1):
        lacks_one(stage, number)
        stage.ask(f"approve {SERVICE}#{number}", "U3")
        before = len(stage.runs())
        said = said_while_it_begins(stage, other, f"reject {SERVICE}#{number} no", "U2")
        after = stage.deployment(number)
        if after.state is S.CANCELLED:
            assert (after.outcome, len(stage.runs()), TOO_LATE in said) == ("rejected", before, False)
        else:
            assert (after.state, len(stage.runs()), TOO_LATE in said) == (S.DEPLOYING, before + 1, True)
            stage.run_ends()
            stage.go_on(60)
        assert stage.deployment(number).state.is_ended


def test_what_was_said_to_be_locked_begins_no_more(stage: Stage, other: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who locks while one begins hears of it when that has begun, not before, when it could still be thought held."""
    lacks_one(stage)
    stage.ask(f"approve {SERVICE}#1", "U3")
    [lease] = stage.world.deployments.claim(1)
    stage.world.ask(f"lock {SERVICE} because audit")
    [record] = stage.world.take()
    when_locked: list[DeploymentState] = []

    def lock() -> None:
        carry_out(other.world.worker, record)
        when_locked.append(other.state())

    locking = threading.Thread(target=lock)
    gate = stage.world.deployments._gate
    held, looks = gate.held, count(1)

    def held_meanwhile(*about: Any) -> object:
        why = held(*about)
        if next(looks) == 2:  # the first one decides nothing
            locking.start()
            locking.join(0.5)
        return why

    monkeypatch.setattr(gate, "held", held_meanwhile)
    carry_out(stage.world.deployments, lease)
    locking.join(30)
    assert other.world.said == [f"{SERVICE}/* is locked."]
    assert (stage.state(), when_locked) == (S.DEPLOYING, [S.DEPLOYING])


def test_a_way_back_is_confirmed_while_a_newer_one_begins(stage: Stage, other: Stage) -> None:
    """Either the newer one gives way and never runs, or it is what is there now and the way back is refused."""
    stage.good("v1")
    for number in (2, 5):
        stage.good(f"v{number}")
        stage.ask(f"lock {SERVICE} in production because so")
        lacks_one(stage, number + 1)
        stage.ask(f"approve {SERVICE}#{number + 1}", "U3")
        stage.ask(f"rollback {SERVICE} in production")
        stage.ask(f"unlock {SERVICE} in production")
        before = len(stage.runs())
        said = said_while_it_begins(stage, other, f"confirm {SERVICE}#{number + 2}", "U1")
        newer, back = stage.deployment(number + 1), stage.deployment(number + 2)
        if newer.state is S.SUPERSEDED:
            assert (len(stage.runs()), back.state) == (before, S.QUEUED)
        else:
            assert (newer.state, len(stage.runs()), back.state) == (S.DEPLOYING, before + 1, S.REQUESTED)
            assert "is not what was deployed last there" in said
        stage.go_on(30)
        stage.run_ends()
        stage.go_on(60)
        assert stage.state(number + 1).is_ended
        stage.ask(f"unlock {SERVICE} in production")  # the way back, where there was one, has locked it


def test_two_ways_back_are_confirmed_at_once(stage: Stage, other: Stage) -> None:
    """What two people want undone is undone once; the second one is told that it is under way."""
    stage.good("v1")
    stage.good("v2")
    stage.ask(f"rollback {SERVICE} in production", "U1")
    stage.ask(f"rollback {SERVICE} in production", "m1")
    answers = said_at_once(stage, other, (f"confirm {SERVICE}#3", "U1"), (f"confirm {SERVICE}#4", "m1"))
    assert sum("2 is under way" in said or "2 正在进行" in said for said in answers) == 1, answers
    stage.go_on(30)
    assert sorted((stage.state(3), stage.state(4))) == [S.DEPLOYING, S.REQUESTED]
    assert [run["version"] for run in stage.runs()] == ["v1", "v2", "v1"]


def test_what_began_after_a_way_back_was_confirmed_is_not_undone(stage: Stage) -> None:
    """However it came about, by a process of an older version say: the way back ends, and its card says why."""
    stage.good("v1")
    stage.good("v2")
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"confirm {SERVICE}#3")
    stage.build("v3")
    lacks_one(stage, 4, "v3")
    stage.ask(f"approve {SERVICE}#4", "U3")

    def begin_unseen(tx: Transaction) -> None:
        at = stage.world.clock.now().timestamp()
        tx.deployments.put(move(move(stage.deployment(4), S.DEPLOYING, at), S.SUCCEEDED, at), due_at=None)

    stage.world.store.write(begin_unseen)
    stage.go_on(30)
    back = stage.deployment(3)
    assert (back.state, back.outcome, stage.state(2), stage.state(4)) == (
        *(S.SUPERSEDED, "overtaken"),
        *(S.SUCCEEDED, S.SUCCEEDED),
    )
    assert [run["version"] for run in stage.runs()] == ["v1", "v2"]
    assert "Something else was deployed after it was confirmed" in str(stage.card(3).sections[0])
    key = f"deployment:shipmate/{SERVICE}#3 v1 → production"
    assert ("shipmate", "supersede", key, "superseded:overtaken") in stage.world.trail()


def test_a_way_back_that_begins_by_itself_goes_before_what_waits(stage: Stage) -> None:
    """What was approved meanwhile does not begin in between: it stays outside of the lock."""
    stage.good("v1")
    stage.build("v2")
    stage.build("v3")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    for number, version in ((2, "v2"), (3, "v3")):
        lacks_one(stage, number, version)
        stage.ask(f"approve {SERVICE}#{number}", "U3")
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(30)
    assert (stage.state(2), stage.deployment(3).outcome, stage.deployment(4).rollback_of) == (
        *(S.ROLLING_BACK, "locked"),
        2,
    )
    stage.run_ends()
    stage.go_on(60)
    assert [run["version"] for run in stage.runs()] == ["v1", "v2", "v1"]
    assert (stage.state(2), stage.state(3), stage.state(4)) == (S.ROLLED_BACK, S.QUEUED, S.SUCCEEDED)
