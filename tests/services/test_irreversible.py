"""What cannot be undone is not undone by itself: also where it came on another branch, or nobody knows what came."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.cards import Card
from bot.domain.checks import Verdict
from bot.domain.deployments import MOST_WHOLE, Deployment, DeploymentState
from bot.services.deployments.versions import LEARN_S
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.services.tracker_world import words_of
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
DROP = "Drop a column [irreversible]"


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """A service whose v1 is good in production, and whose v2 fails its check."""
    stage = a_stage(store, database)
    stage.good("v1")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    return stage


def failed(stage: Stage) -> Deployment:
    """v2 brought to production, where it fails."""
    number = stage.carried_out("v2")
    stage.go_on(1)
    return stage.deployment(number)


def preview(stage: Stage) -> str:
    """What the person who asked last is shown."""
    _, answer, _ = stage.world.responder.answers[-1]
    assert isinstance(answer, Card)
    return words_of(answer.sections)


def test_a_change_of_another_branch_may_be_part_of_a_tag(stage: Stage) -> None:
    """It was built on main between the two tags: the version before is not brought back, and the preview said so."""
    stage.build("main", title=DROP)
    stage.build("v2")
    stage.ask(f"deploy {SERVICE} v2 to production")
    assert "Meanwhile on other branches, and not to be undone: Drop a column" in preview(stage)
    for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
        stage.ask(f"{typed} {SERVICE}#2", person)
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(1)
    after = stage.deployment(2)
    assert (after.state, after.not_rolled_back) == (S.FAILED, "irreversible")
    assert [change.title for change in after.changes] == ["A change"]
    assert "cannot be undone" in stage.ask(f"rollback {SERVICE} in production")
    assert Deployment.from_json(after.to_json()) == after


def test_other_branches_without_such_a_change_are_no_obstacle(stage: Stage) -> None:
    """Most of what is built between two tags can be undone."""
    stage.build("main", title="Say hello")
    assert failed(stage).state is S.ROLLING_BACK


def test_where_the_builds_cannot_be_asked_a_person_decides(stage: Stage) -> None:
    """The CI system told the builds and not their commits: nothing is undone unasked, and a rollback by hand may."""
    stage.builds.away = {"between"}
    after = failed(stage)
    assert (after.state, after.not_rolled_back) == (S.FAILED, "commits_unknown")
    assert "Not rolled back: its commits are not all known" in words_of(stage.card(2).sections)
    stage.ask(f"rollback {SERVICE}#2 in production")
    stage.ask(f"confirm {SERVICE}#3")
    stage.go_on(1)
    assert stage.runs()[-1]["version"] == "v1"


def test_a_preview_says_that_commits_are_not_known(stage: Stage) -> None:
    """There are more of them than the CI system tells."""
    stage.builds.tells_commits = 0
    stage.build("v2")
    stage.ask(f"deploy {SERVICE} v2 to production")
    assert "Its commits are not all known." in preview(stage)
    assert not stage.deployment(2).changes_known


def test_what_could_not_be_told_is_learned_when_it_begins(stage: Stage) -> None:
    """The source was away when it was asked for: back when it begins, and away again when it fails, it has told."""
    stage.builds.away = {"between"}
    stage.build("v2", title="Fix USER-7")
    stage.ask(f"deploy {SERVICE} v2 to production")
    assert "Its commits are not all known." in preview(stage)
    stage.builds.away = set()
    for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
        stage.ask(f"{typed} {SERVICE}#2", person)
    stage.go_on(1)
    stage.builds.away = {"between"}
    learned = stage.deployment(2)
    assert ([one.title for one in learned.changes], learned.changes_known) == (["Fix USER-7"], True)
    stage.run_ends()
    stage.go_on(1)
    assert stage.state(2) is S.ROLLING_BACK


def test_what_could_not_be_told_is_learned_while_it_is_verified(stage: Stage) -> None:
    """Its source was away until then: it is asked once a minute, and what it tells may forbid the way back."""
    stage.verification.verdicts["health@v2"] = Verdict.PASSED
    stage.builds.away = {"between"}
    stage.build("v2", title=DROP)
    number = stage.carried_out("v2")
    assert (stage.state(number), stage.deployment(number).changes_known) == (S.VERIFYING, False)
    stage.builds.away = set()
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    stage.world.clock.advance(LEARN_S)
    stage.go_on(0)
    after = stage.deployment(number)
    assert (after.state, after.not_rolled_back, after.learn_at) == (S.FAILED, "irreversible", 0.0)


def test_what_is_too_much_is_not_asked_for_again(stage: Stage) -> None:
    """The source has told all that it tells: asking it once a minute would bring nothing."""
    stage.builds.tells_commits = 0
    after = failed(stage)
    assert (after.not_rolled_back, after.learn_at) == ("commits_unknown", 0.0)


def test_hundreds_of_commits_are_known(stage: Stage) -> None:
    """Of the older ones the title is kept: one among them that cannot be undone forbids the way back."""
    stage.build("v2", title=DROP)
    stage.build_more("v2", MOST_WHOLE + 20)
    stage.verification.verdicts["health"] = Verdict.FAILED
    number = stage.carried_out("v2")
    stage.go_on(1)
    after = stage.deployment(number)
    assert (len(after.changes), len(after.further), after.changes_known) == (MOST_WHOLE, 21, True)
    assert after.brought[-1].title == DROP
    assert (after.state, after.not_rolled_back) == (S.FAILED, "irreversible")
    assert Deployment.from_json(after.to_json()) == after


def test_a_service_whose_builds_tell_of_no_commits_is_rolled_back(stage: Stage) -> None:
    """There is nothing to be asked for: its failures are undone as ever."""
    for run in stage.builds.runs.values():
        run.facts = replace(run.facts, commit=None)
    key = stage.builds.start(SERVICE)
    stage.builds.runs[key].facts = replace(stage.builds.runs[key].facts, branch="v2", commit=None)
    stage.builds.finish(key, BuildStatus.SUCCESS)
    stage.ask(f"deploy {SERVICE} v2 to production")
    assert stage.deployment(2).changes_known


def test_rows_from_before_know_their_commits(stage: Stage) -> None:
    """What an earlier version of the bot has stored is judged as it was."""
    stored = stage.deployment(1).to_json()
    del stored["aside"], stored["changes_known"], stored["further"], stored["learn_at"]
    read = Deployment.from_json(stored)
    assert (read.aside, read.changes_known, read.further, read.learn_at) == ((), True, (), 0.0)
