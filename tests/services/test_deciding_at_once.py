"""Decisions that meet each other: approve and reject, or reject and the start, at the same moment and in any order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from bot.domain.deployments import DeploymentState
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


def lacks_one(stage: Stage, number: int = 1) -> None:
    """One to production that waits for the last of its approvals."""
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#{number}")
    stage.ask(f"approve {SERVICE}#{number}", "m2")
    assert stage.state(number) is S.AWAITING_APPROVAL


def at_once(*works: Callable[[], None]) -> None:
    """Do pieces that start at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        barrier.wait(10)
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        list(pool.map(run, works))


def doing(worker: Worker, work: object) -> Callable[[], None]:
    """One piece of work, to be done later."""
    return lambda: carry_out(worker, work)


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
        stage.world.ask(f"approve {SERVICE}#{number}", "U3")
        stage.world.ask(f"reject {SERVICE}#{number} no", "U2")
        one, two = stage.world.take()
        at_once(doing(stage.world.worker, one), doing(other.world.worker, two))
        stage.world.work()
        answers = [*stage.world.said[-1:], *other.world.said[-1:]]
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
        stage.world.ask(f"approve {SERVICE}#{number}", "U3")
        stage.world.ask(f"approve {SERVICE}#{number}", "U2")
        one, two = stage.world.take()
        at_once(doing(stage.world.worker, one), doing(other.world.worker, two))
        stage.world.work()
        after = stage.deployment(number)
        assert (after.state, len(after.approvals)) == (S.QUEUED, 2)
        answers = [*stage.world.said[-1:], *other.world.said[-1:]]
        assert sum(WAITS_NOT in said for said in answers) == 1, answers
        stage.ask(f"reject {SERVICE}#{number} next", "U2")


def test_a_rejection_while_it_begins(stage: Stage, other: Stage) -> None:
    """Either it is rejected and nothing runs, or it began and the rejection is told that it came too late."""
    for number in range(1, ROUNDS + 1):
        lacks_one(stage, number)
        stage.ask(f"approve {SERVICE}#{number}", "U3")
        before = len(stage.runs())
        [lease] = stage.world.deployments.claim(1)
        stage.world.ask(f"reject {SERVICE}#{number} no", "U2")
        [record] = stage.world.take()
        at_once(doing(stage.world.deployments, lease), doing(other.world.worker, record))
        after, said = stage.deployment(number), other.world.said[-1]
        if after.state is S.CANCELLED:
            assert (after.outcome, len(stage.runs()), TOO_LATE in said) == ("rejected", before, False)
        else:
            assert (after.state, len(stage.runs()), TOO_LATE in said) == (S.DEPLOYING, before + 1, True)
            stage.run_ends()
            stage.go_on(60)
        assert stage.deployment(number).state.is_ended
