"""One number that is a build's and a deployment's: which of them is meant is said, and how to mean the other."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.cards import Card
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """The build and the deployment of number 1."""
    stage = a_stage(store, database)
    stage.build("v1")
    stage.hear()
    stage.ask(f"deploy {SERVICE} v1 to staging")
    return stage


def shown(stage: Stage, typed: str) -> Card:
    """What a line is answered with."""
    stage.ask(typed)
    return stage.world.card_answer()


@pytest.mark.parametrize("verb", ["show", "explain"])
def test_a_number_of_both_is_answered_for_the_build_and_names_the_deployment(stage: Stage, verb: str) -> None:
    """With the line that shows the deployment; who says which one is meant reads nothing about the other."""
    both = str(shown(stage, f"{verb} {SERVICE}#1").sections[0])
    assert f"This is the build. The deployment {SERVICE}#1 (v1 → staging):" in both
    assert f"{verb} deployment:{SERVICE}#1" in both
    for exact in (f"buildbot/{SERVICE}#1", f"deployment:{SERVICE}#1"):
        assert "This is the build" not in str(shown(stage, f"{verb} {exact}"))


def test_cards_of_deployments_say_that_they_are(stage: Stage) -> None:
    """So does the answer that explains one, and the newest build is named as a build."""
    assert stage.card().title.startswith(f"Deployment {SERVICE}#1 · v1 → staging")
    explained = shown(stage, f"explain deployment:{SERVICE}#1")
    assert explained.title == f"Why the deployment {SERVICE}#1 is shown where it is"
    assert f"v1 (build:{SERVICE}#1)" in stage.ask(f"deploy {SERVICE} v9 to staging")
