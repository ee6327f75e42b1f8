"""What is deployed is what was asked for and approved, whatever its name stands for by then."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.deployments import DeploymentState
from bot.domain.services import Pipeline
from tests.services.deployment_world import DEPLOY_PROJECT, SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
BOTH = Pipeline("buildbot", DEPLOY_PROJECT, {"version": "{{version}}", "commit": "{{commit}}"})


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """A pipeline that is told {{version}}, and not {{commit}}."""
    return a_stage(store, database)


def commit_of(stage: Stage, number: int) -> str:
    """The commit of a build of the service."""
    facts = [run.facts for run in stage.builds.runs.values() if run.key.project == SERVICE]
    return str(facts[number - 1].commit)


def queued(stage: Stage, version: str) -> None:
    """Confirmed and approved, but for its first step."""
    stage.ask(f"deploy {SERVICE} {version} to production")
    number = stage.newest()
    stage.ask(f"confirm {SERVICE}#{number}")
    stage.ask(f"approve {SERVICE}#{number}", "U2")
    stage.ask(f"approve {SERVICE}#{number}", "U3")


def told(stage: Stage) -> list[str]:
    """The versions that the pipeline was told, in order."""
    return [run["version"] for run in stage.runs()]


def without_commits(stage: Stage) -> None:
    """Let the CI system tell no commits."""
    for run in stage.builds.runs.values():
        run.facts = replace(run.facts, commit=None)


def test_a_branch_is_resolved_when_it_is_asked_for(stage: Stage) -> None:
    """Preview, approvals and the run are about the commit of its newest good build; later ones change nothing."""
    stage.build("main")
    stage.build("main")
    stage.build("main", BuildStatus.FAILED)
    queued(stage, "main")
    asked = commit_of(stage, 2)
    assert (stage.deployment().version.name, stage.deployment().version.commit) == (asked[:8], asked)
    stage.build("main")
    stage.go_on(1)
    assert told(stage) == [asked[:8]]


def test_a_name_that_moves_while_people_approve(stage: Stage) -> None:
    """It looked like a tag when it was asked for; what begins is what was approved, by its commit."""
    stage.build("fix")
    queued(stage, "fix")
    assert stage.deployment().version.name == "fix"
    stage.build("fix")
    stage.go_on(1)
    assert told(stage) == [commit_of(stage, 1)[:8]]
    assert commit_of(stage, 1)[:8] in stage.card().title


@pytest.mark.parametrize("unseen", ["\u200b", "\u2060", "\u202e", "\u00ad", "\x7f"])
@pytest.mark.parametrize("takes_any", [False, True])
def test_what_nobody_sees_names_no_other_version(stage: Stage, unseen: str, takes_any: bool) -> None:
    """Whoever approves goes by what the card shows: a branch that looks like another one is not meant by its name."""
    service = replace(stage.world.services[SERVICE], takes_any_version=takes_any)
    stage.restart({SERVICE: service})
    stage.build("v1")
    stage.build(f"v1{unseen}")
    stage.ask(f"deploy {SERVICE} v1{unseen} to production")
    assert (stage.deployment().version.name, stage.deployment().version.build) == ("v1", f"build:buildbot/{SERVICE}#1")
    assert stage.ask(f"deploy {SERVICE} {unseen} to production").startswith("I know no such version.")


@pytest.mark.parametrize("tag", ["v1", "20261121"])
def test_a_tag_keeps_its_name(stage: Stage, tag: str) -> None:
    """It was built of one commit, however often, and may look like a commit: images are named by it."""
    stage.build(tag)
    key = next(iter(stage.builds.runs))
    again = stage.builds.start(SERVICE)
    stage.builds.runs[again].facts = stage.builds.runs[key].facts
    queued(stage, tag)
    stage.go_on(1)
    assert told(stage) == [tag]


def test_a_pipeline_that_is_told_the_commit_is_told_the_name_too(store: SqlStore, database: Engine) -> None:
    """Nothing needs to be put in the name's place."""
    stage = a_stage(store, database, deploy=BOTH)
    stage.builds.parameters = ("version", "commit")
    stage.build("main")
    stage.build("main")
    queued(stage, "main")
    stage.go_on(1)
    assert stage.runs() == [{"version": "main", "commit": commit_of(stage, 2)}]


@pytest.mark.parametrize("word", ["latest green", "#1", "a commit"])
def test_everything_else_is_a_commit_from_the_first(stage: Stage, word: str) -> None:
    """Whatever is built meanwhile."""
    stage.build("main")
    commit = commit_of(stage, 1)
    queued(stage, commit[:10] if word == "a commit" else word)
    stage.build("main")
    stage.go_on(1)
    assert told(stage) == [commit[:8]]


def test_the_way_back_to_a_branch_is_to_its_commit(stage: Stage) -> None:
    """Its name stands for what has to go by now."""
    stage.good("main")
    first = commit_of(stage, 1)
    stage.build("main")
    queued(stage, "main")
    stage.go_on(1)
    stage.run_ends(BuildStatus.FAILED)
    stage.go_on(1)
    assert told(stage) == ["main", commit_of(stage, 2)[:8], first[:8]]


def test_a_moving_name_without_commits_is_refused(stage: Stage) -> None:
    """Nothing would hold it to what was approved; a build by its number does."""
    stage.build("main")
    stage.build("main")
    without_commits(stage)
    assert "main was built more than once" in stage.ask(f"deploy {SERVICE} main to production")
    stage.ask(f"deploy {SERVICE} #2 to production")
    assert stage.deployment().version.name == "#2"


def test_a_name_without_commits_that_moves_while_people_approve(stage: Stage) -> None:
    """Nobody can tell the two apart: nothing begins, and the card says why."""
    stage.build("main")
    without_commits(stage)
    queued(stage, "main")
    stage.build("main")
    without_commits(stage)
    stage.go_on(1)
    assert (stage.state(), stage.deployment().outcome, told(stage)) == (S.CANCELLED, "version_moved", [])
    assert "Its version is the name of another build by now" in str(stage.card().sections[0])


def test_a_branch_that_was_good_in_staging_may_go_on(store: SqlStore, database: Engine) -> None:
    """One commit is one version, under whichever name it came there."""
    stage = a_stage(store, database, after="staging")
    stage.good("main", "staging")
    first = commit_of(stage, 1)
    stage.build("main")
    assert f"{commit_of(stage, 2)[:8]} has to succeed in staging first" in stage.ask(
        f"deploy {SERVICE} main to production"
    )
    stage.ask(f"promote {SERVICE} to production")
    assert stage.deployment(2).version.name == first[:8]


@pytest.mark.parametrize("named", ["#1", f"{SERVICE}#1", f"buildbot/{SERVICE}#1", f"build:buildbot/{SERVICE}#1"])
def test_a_build_is_one_of_the_service_s_own(stage: Stage, named: str) -> None:
    """By its number, with or without its project; that of another project is no version of this service."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} payments#1 to staging")
    assert stage.world.store.read(lambda tx: tx.deployments.get(1)) is None
    stage.ask(f"deploy {SERVICE} {named} to staging")
    assert stage.deployment(1).version.build == f"build:buildbot/{SERVICE}#1"
