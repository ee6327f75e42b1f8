"""Which build `latest green` is: of the service's branch, and none that was only built again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from tests.services.deployment_world import SERVICE, Stage, a_service, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """Two good builds of main, and a later one of another branch."""
    stage = a_stage(store, database)
    stage.build("main", title="good")
    stage.build("main", title="better")
    stage.build("feature/wild", title="half finished")
    return stage


def commits(stage: Stage) -> list[str]:
    """Of which commits the service was built, in order."""
    return [run.facts.commit or "" for key, run in stage.builds.runs.items() if key.project == SERVICE]


def test_it_is_the_newest_of_the_branch_that_the_service_names(stage: Stage) -> None:
    """Without one of any; the card and the preview say of which."""
    stage.ask(f"deploy {SERVICE} latest green to staging")
    assert stage.deployment().version.commit == commits(stage)[2]
    assert "feature/wild" in str(stage.card().fields)
    stage.restart({SERVICE: replace(a_service(), build_branch="main")})
    stage.ask(f"deploy {SERVICE} latest green to staging")
    assert stage.deployment(2).version.commit == commits(stage)[1]
    stage.ask(f"deploy {SERVICE} latest green to production")
    assert " · main" in str(stage.world.card_answer().fields)


def test_a_commit_that_is_built_again_is_no_newer(stage: Stage) -> None:
    """Somebody presses Rebuild on the first build."""
    stage.restart({SERVICE: replace(a_service(), build_branch="main")})
    first = next(run.facts for key, run in stage.builds.runs.items() if key.project == SERVICE)
    again = stage.builds.start(SERVICE)
    stage.builds.runs[again].facts = first
    stage.builds.finish(again, BuildStatus.SUCCESS)
    stage.ask(f"deploy {SERVICE} latest green to staging")
    assert stage.deployment().version.commit == commits(stage)[1]
