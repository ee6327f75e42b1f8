"""Builds whose rows make no sense: deployments beside them end, and are told and counted as if there were none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine, select, update

from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState
from bot.domain.issues import KeyRules
from bot.domain.services import RollbackRule
from bot.services.trackers import Told, TrackerAccess
from bot.storage.tables import subjects
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.services.tracker_world import FakeTracker
from tests.stores import SqlStore

NEWER = {"status": "half_good"}  # a word that this version does not know
TRACKER = TrackerAccess(
    tracker=FakeTracker(), rules=KeyRules(frozenset({"USER"})), releases=FakeTracker(), told=Told(fix_version=("*",))
)


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """Two builds were heard of, and issues are told which version they are in."""
    stage = a_stage(store, database, known_trackers={"jira": TRACKER})
    stage.build("v1", title="USER-12 Log in")
    stage.build("v2", title="USER-13 Log out")
    stage.hear()
    return stage


def spoil(stage: Stage, number: int, **folded: Any) -> None:
    """Let what is stored of a build say something else, or nothing."""
    is_it = subjects.c.key.endswith(f"/{SERVICE}#{number}")
    with stage.world.database.begin() as connection:
        known = connection.scalar(select(subjects.c.folded).where(is_it))
        assert known is not None
        told = {**known, "values": known["values"] | folded} if folded else {}
        connection.execute(update(subjects).where(is_it).values(folded=told))


def passed_over() -> float:
    """How often such a row was met."""
    return REGISTRY.get_sample_value("shipmate_unreadable_total", {"table": "subjects"}) or 0.0


def test_a_deployment_beside_one_ends_and_its_issues_are_told(stage: Stage) -> None:
    """Whether its version's name moves on is judged by the builds that make sense; the others are counted."""
    stage.good("v1", "staging")
    spoil(stage, 1, **NEWER)
    before = passed_over()
    stage.ask(f"deploy {SERVICE} v2 to staging")
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    assert stage.state(2) is DeploymentState.SUCCEEDED
    assert stage.world.store.read(lambda tx: tx.tracker_tasks.next_due_at()) is not None
    assert passed_over() > before


def test_a_version_is_found_while_the_source_is_away(stage: Stage) -> None:
    """By what was heard of the builds that make sense."""
    spoil(stage, 1, **NEWER)
    stage.builds.away.add("list_builds")
    stage.ask(f"deploy {SERVICE} v2 to staging")
    assert stage.deployment().version.name == "v2"


@pytest.mark.parametrize("folded", [NEWER, {}], ids=["a word of a newer version's", "nothing"])
def test_what_one_between_two_versions_brought_is_not_known(
    store: SqlStore, database: Engine, folded: Mapping[str, str]
) -> None:
    """Its source tells of builds and cannot be asked: it may be what cannot be undone, so nothing is by itself."""
    stage = a_stage(store, database, rollback=RollbackRule(irreversible=("[irreversible]",)))
    for version, title in (("v1", "Log in"), ("v2", "[irreversible] Drop a column"), ("v3", "Log out")):
        stage.build(version, title=title)
    stage.hear()
    known = stage.world.sources._sources
    known["buildbot"] = replace(known["buildbot"], reader=None)
    stage.good("v1")
    spoil(stage, 2, **folded)
    stage.verification.verdicts["health@v3"] = Verdict.FAILED
    number = stage.carried_out("v3")
    stage.go_on(60)
    failed = stage.deployment(number)
    assert (failed.state, failed.not_rolled_back) == (DeploymentState.FAILED, "commits_unknown")


def test_the_figures_count_what_was_built_of_one(stage: Stage) -> None:
    """How long a change took is not known of it; all the rest is."""
    for version in ("v1", "v2"):
        stage.good(version, "staging")
    spoil(stage, 1)
    [figures] = [one for one in stage.world.house.answers.dora(SERVICE) if one.environment == "staging"]
    assert figures.succeeded == 2


def test_the_builds_beside_one_are_listed(stage: Stage) -> None:
    """Who asks how things stand is shown the others."""
    spoil(stage, 1, **NEWER)
    stage.ask("status")
    lines = str(stage.world.card_answer().sections)
    assert [f"{SERVICE}#{number}" in lines for number in (1, 2)] == [False, True]
