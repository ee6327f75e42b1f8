"""A version older than what is there, asked for by name: all are shown what goes, and nothing irreversible does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.checks import Verdict
from bot.domain.deployments import Deployment, DeploymentState, Version, note
from bot.domain.services import RollbackRule
from bot.ports import Transaction
from bot.services.deployments.standing import in_place_of
from bot.services.deployments.versions import MOST_BUILDS
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.services.tracker_world import words_of
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
OLDER = "This version is older than what is there"
DROP = "Drop a column [irreversible]"


def two_versions(store: SqlStore, database: Engine, title: str, **changed: object) -> Stage:
    """v2 is in production, after v1."""
    stage = a_stage(store, database, break_glass=("sre",), **changed)  # type: ignore[arg-type]  # fields of a Target
    stage.good("v1")
    stage.build("v2", title=title)
    stage.good("v2")
    return stage


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """v2 brought what can be undone."""
    return two_versions(store, database, "Fix sums")


@pytest.fixture
def dropped(store: SqlStore, database: Engine) -> Stage:
    """v2 brought what cannot be undone."""
    return two_versions(store, database, DROP)


def test_the_preview_and_the_card_say_what_goes(stage: Stage) -> None:
    """Who asks and who approves see that it goes back, and over which commits."""
    stage.ask(f"deploy {SERVICE} v1 to production")
    preview = stage.world.card_answer()
    assert preview.title == f"Deploy an older version of {SERVICE} to production?"
    stage.ask(f"confirm {SERVICE}#3")
    assert stage.state(3) is S.AWAITING_APPROVAL
    for card in (preview, stage.card(3)):
        shown = words_of(card.sections)
        assert OLDER in shown
        assert "Fix sums" in shown
    stored = stage.deployment(3)
    assert Deployment.from_json(stored.to_json()) == stored


def test_it_is_deployed_by_approval_and_may_be_undone(stage: Stage) -> None:
    """It is a deployment like any other; the way back from it leads to what was there before."""
    stage.good("v1")
    assert OLDER in words_of(stage.card(3).sections)
    stage.ask(f"rollback {SERVICE} in production")
    newest = stage.deployment(stage.newest())
    assert (newest.rollback_of, newest.version.name) == (3, "v2")


def test_what_cannot_be_undone_is_not_gone_back_over(dropped: Stage) -> None:
    """As `rollback` is refused: nobody is even asked to approve it, and the sentence names the change."""
    assert f"({DROP}): go forward" in dropped.ask(f"deploy {SERVICE} v1 to production")
    assert "cannot be undone" in dropped.ask(f"rollback {SERVICE} in production to v1")
    assert dropped.newest() == 2


def test_break_glass_goes_back_over_it_and_says_so(dropped: Stage) -> None:
    """Whoever holds that role may have put the column back by hand; the card names what it goes over."""
    dropped.ask(f"deploy {SERVICE} v1 to production break-glass because the shop is down")
    warning = f"It goes back over what cannot be undone: {DROP}"
    assert warning in words_of(dropped.world.card_answer().sections)
    dropped.ask(f"confirm {SERVICE}#3")
    dropped.go_on(1)
    assert dropped.state(3) is S.DEPLOYING
    assert warning in words_of(dropped.card(3).sections)


def test_what_failed_and_stayed_is_not_gone_back_over(store: SqlStore, database: Engine) -> None:
    """v3 dropped a column and is what runs: the good v1 and v2 would run without it."""
    stage = a_stage(store, database, rollback=RollbackRule(is_enabled=False))
    stage.good("v1")
    stage.build("v2")
    stage.build("v3", title=DROP)
    stage.verification.verdicts["health@v3"] = Verdict.FAILED
    number = stage.carried_out("v3")
    stage.go_on(60)
    assert stage.state(number) is S.FAILED
    for version in ("v1", "v2"):
        assert "go forward" in stage.ask(f"deploy {SERVICE} {version} to production")
    stage.build("v4")
    stage.ask(f"deploy {SERVICE} v4 to production")
    assert stage.deployment(stage.newest()).undoes is None


def test_the_same_version_once_more_takes_nothing_away(stage: Stage) -> None:
    """It is no older than itself."""
    stage.ask(f"deploy {SERVICE} v2 to production")
    assert stage.deployment(3).undoes is None


def retried(stage: Stage, version: str) -> str:
    """Build a version once more after a hundred other builds: its first one is not listed any more. Its name."""
    first = next(run.facts for run in stage.builds.runs.values() if run.facts.branch == version)
    for _ in range(MOST_BUILDS):
        stage.builds.finish(stage.builds.start(SERVICE), BuildStatus.SUCCESS)
    again = stage.builds.start(SERVICE)
    stage.builds.runs[again].facts = replace(first, started_at=stage.builds.now)
    stage.builds.finish(again, BuildStatus.SUCCESS)
    return version


def test_an_old_version_is_not_newer_for_a_build_that_nobody_lists(dropped: Stage) -> None:
    """Its first build is none of the newest hundred: it was deployed as that one, which tells how old it is."""
    dropped.builds.away = {"between"}
    assert "cannot be undone" in dropped.ask(f"deploy {SERVICE} {retried(dropped, 'v1')} to production")


def before_it(store: SqlStore, database: Engine, title: str) -> Stage:
    """v0 was built and never deployed; v2, which came later, is in production."""
    stage = a_stage(store, database, break_glass=("sre",))
    stage.build("v0")
    stage.good("v1")
    stage.build("v2", title=title)
    stage.good("v2")
    retried(stage, "v0")
    return stage


def test_what_was_never_deployed_is_as_old_as_its_commits(store: SqlStore, database: Engine) -> None:
    """No number tells it: the source does, and what cannot be undone is not gone back over."""
    stage = before_it(store, database, DROP)
    assert f"({DROP}): go forward" in stage.ask(f"deploy {SERVICE} v0 to production")
    assert stage.newest() == 2


def test_a_later_build_of_an_older_commit_is_shown_as_older(store: SqlStore, database: Engine) -> None:
    """From the preview to its start."""
    stage = before_it(store, database, "Fix sums")
    stage.ask(f"whats-in {SERVICE} production v0")
    assert "v0 is older than" in words_of(stage.world.card_answer().sections)
    stage.ask(f"deploy {SERVICE} v0 to production")
    assert "Fix sums" in words_of(stage.world.card_answer().sections)
    for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
        stage.ask(f"{typed} {SERVICE}#3", person)
    stage.go_on(1)
    assert stage.state(3) is S.DEPLOYING
    assert OLDER in words_of(stage.card(3).sections)
    assert Deployment.from_json(stage.deployment(3).to_json()) == stage.deployment(3)


def test_what_came_meanwhile_ends_a_later_build_of_an_older_commit(store: SqlStore, database: Engine) -> None:
    """Whoever agreed was shown another version in its place."""
    stage = before_it(store, database, "Fix sums")
    stage.ask(f"deploy {SERVICE} v0 to production")
    stage.ask(f"confirm {SERVICE}#3")
    stage.good("v1")
    assert (stage.state(3), stage.deployment(3).outcome) == (S.SUPERSEDED, "outdated")


def test_what_is_told_to_be_older_only_at_its_start_does_not_begin(store: SqlStore, database: Engine) -> None:
    """The CI system was away when it was asked for: nobody was shown what it would go back over."""
    stage = before_it(store, database, DROP)
    stage.builds.away = {"between"}
    stage.ask(f"deploy {SERVICE} v0 to production")
    stage.builds.away = set()
    for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
        stage.ask(f"{typed} {SERVICE}#3", person)
    stage.go_on(1)
    assert (stage.state(3), stage.deployment(3).outcome, len(stage.runs())) == (S.CANCELLED, "older_unshown", 2)
    assert "older than what is there" in words_of(stage.card(3).sections)


def test_what_is_only_built_again_is_no_newer_than_it_was(dropped: Stage) -> None:
    """Somebody retries the build of v1: its commit is still older than what cannot be undone."""
    first = next(run.facts for run in dropped.builds.runs.values() if run.facts.branch == "v1")
    again = dropped.builds.start(SERVICE)
    dropped.builds.runs[again].facts = replace(first, started_at=dropped.builds.now)
    dropped.builds.finish(again, BuildStatus.SUCCESS)
    assert f"cannot be undone ({DROP})" in dropped.ask(f"deploy {SERVICE} v1 to production")
    dropped.ask(f"deploy {SERVICE} latest to production")
    assert dropped.deployment(dropped.newest()).version.name.startswith(dropped.deployment(2).version.commit[:8])


def test_what_no_build_made_is_not_what_it_was_to_undo(stage: Stage, store: SqlStore) -> None:
    """Meanwhile a version of no build took the place of v2: what goes with that, nobody knows."""
    stage.ask(f"deploy {SERVICE} v1 to production")
    waiting, hotfix = stage.deployment(3), note(stage.deployment(2), version=Version("hotfix"))
    assert waiting.undoes is not None

    def work(tx: Transaction) -> Deployment:
        tx.deployments.put(hotfix, due_at=None)
        return in_place_of(tx, waiting)

    after = store.write(work)
    assert (after.previous, after.undoes, after.changes_known) == (Version("hotfix"), None, False)
