"""Deployments whose rows make no sense: what is asked about the others is answered, and nothing is guessed."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine, update

from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState
from bot.storage.tables import deployments
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

S = DeploymentState


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """Three versions were good in staging, one after the other."""
    stage = a_stage(store, database, after="staging")
    for version in ("v1", "v2", "v3"):
        stage.good(version, "staging")
    return stage


def spoil(stage: Stage, number: int, snapshot: object = "nonsense") -> None:
    """Let what is stored of a deployment make no sense."""
    with stage.world.database.begin() as connection:
        connection.execute(update(deployments).where(deployments.c.number == number).values(snapshot=snapshot))


def passed_over() -> float:
    """How often such a row was met."""
    return REGISTRY.get_sample_value("shipmate_unreadable_total", {"table": "deployments"}) or 0.0


def test_lists_and_figures_tell_of_the_others(stage: Stage) -> None:
    """Each time it is counted, and the log has its number."""
    spoil(stage, 2)
    before = passed_over()
    stage.ask(f"deployments {SERVICE}")
    listed = str(stage.world.card_answer())
    assert [f"{SERVICE}#{number}" in listed for number in (1, 2, 3)] == [True, False, True]
    (figures,) = [one for one in stage.world.house.answers.dora(SERVICE) if one.environment == "staging"]
    assert figures.succeeded == 2
    assert passed_over() >= before + 2


@pytest.mark.one_engine
@pytest.mark.parametrize("snapshot", [None, [1], {}, {"terms": "x"}], ids=["none", "list", "empty", "other terms"])
def test_a_row_that_is_due_stops_no_other(stage: Stage, snapshot: object) -> None:
    """It rests, and the one beside it goes on to its end."""
    stage.build("v4")
    stage.build("v5")
    stage.ask(f"deploy {SERVICE} v4 to staging")
    four = stage.newest()
    spoil(stage, four, snapshot)
    stage.ask(f"deploy {SERVICE} v5 to staging")
    stage.go_on(1)
    stage.run_ends()
    assert stage.state(stage.newest()) is S.SUCCEEDED


def test_nobody_guesses_what_to_go_back_to(stage: Stage) -> None:
    """What cannot be read may be what stands there: who wants another version there has to say which one."""
    spoil(stage, 3)
    assert f"{SERVICE}#3 cannot be read" in stage.ask(f"rollback {SERVICE} in staging")
    assert f"{SERVICE}#3 cannot be read" in stage.ask(f"promote {SERVICE} to production")


def test_one_that_fails_beside_it_ends_without_a_way_back(store: SqlStore, database: Engine) -> None:
    """It is told as failed, and people are asked to look, where a version too old might be brought back."""
    stage = a_stage(store, database)
    stage.good("v1")
    stage.good("v2")
    spoil(stage, stage.newest())
    stage.verification.verdicts["health@v3"] = Verdict.FAILED
    stage.build("v3")
    stage.ask(f"deploy {SERVICE} v3 to production")
    number = stage.newest()
    stage.ask(f"confirm {SERVICE}#{number}")
    for person in ("U2", "U3"):
        stage.ask(f"approve {SERVICE}#{number}", person)
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(120)
    assert stage.state(number) is S.FAILED
    assert stage.newest() == number
