"""Deployments from the line that asks for one to its end: approvals, the run, the checks, and the way back."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.cards import Card, Lines, Tone
from bot.domain.checks import Policy, Verdict
from bot.domain.commands import Verb
from bot.domain.deployments import DeploymentKind, DeploymentState
from bot.domain.services import RollbackRule, WhenBusy
from bot.services.deployments.desk import DEPLOYMENT_VERBS
from tests.services.deployment_world import CHECK, SERVICE, Stage, a_stage
from tests.stores import SqlStore

S = DeploymentState


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """One service with staging and production; nothing was deployed yet."""
    return a_stage(store, database)


def approved(stage: Stage, version: str = "v1", number: int = 1) -> None:
    """A deployment to production that was asked for, confirmed, approved and begun."""
    stage.ask(f"deploy {SERVICE} {version} to production")
    stage.ask(f"confirm {SERVICE}#{number}")
    stage.ask(f"approve {SERVICE}#{number}", "U2")
    stage.ask(f"approve {SERVICE}#{number}", "m2")
    stage.go_on()


def test_the_whole_way_to_production(stage: Stage) -> None:
    """Preview, confirmation, two approvals from two platforms, one run, checks: each state is shown on one card."""
    stage.build("v1")
    preview = stage.ask(f"deploy {SERVICE} v1 to production")
    assert "Deploy user-service to production?" in preview
    assert stage.state() is S.REQUESTED
    assert stage.runs() == []
    stage.ask(f"confirm {SERVICE}#1")
    assert stage.state() is S.AWAITING_APPROVAL
    assert stage.card().title == "Deployment user-service#1 · v1 → production · waits for approval"
    assert [action.id for action in stage.card().actions] == ["approve", "reject"]
    assert "1 more needed" in stage.ask(f"approve {SERVICE}#1", "U2")
    assert "即开始" in stage.ask(f"approve {SERVICE}#1", "m2")
    stage.go_on()
    assert stage.state() is S.DEPLOYING
    assert stage.runs() == [{"version": "v1", "environment": "production"}]
    stage.run_ends()
    assert stage.state() is S.VERIFYING
    stage.go_on(60)
    assert stage.state() is S.SUCCEEDED
    card = stage.card()
    assert (card.tone, card.emoji, card.is_final) == (Tone.SUCCESS, "🚀", True)
    assert stage.runs() == [{"version": "v1", "environment": "production"}]
    verbs = [(verb, outcome) for _, verb, _, outcome in stage.world.trail()]
    assert verbs == [
        ("deploy", "requested"),
        ("confirm", "awaiting_approval"),
        ("approve", "awaiting_approval"),
        ("approve", "queued"),
        ("start", "deploying"),
        ("carry_out", "verifying"),
        ("verify", "succeeded"),
    ]


def test_nothing_starts_without_its_approvals(stage: Stage) -> None:
    """The requester cannot approve, nobody counts twice, and who has no role for it is refused."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    refused = stage.ask(f"approve {SERVICE}#1", "U1")
    assert refused.startswith("Your roles do not allow this here. It takes the role release:")
    stage.ask(f"approve {SERVICE}#1", "U2")
    assert "approved this already" in stage.ask(f"approve {SERVICE}#1", "U2")
    stage.go_on(10)
    assert (stage.state(), stage.runs()) == (S.AWAITING_APPROVAL, [])


@pytest.mark.parametrize("said", ["12", "#12", f"{SERVICE}#12", "v1", "USER-1", "payment-service#1"])
def test_a_decision_hits_no_other_deployment(stage: Stage, said: str) -> None:
    """A number with more digits, a version, an issue's key, another service: none of them means the first one."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    for verb in ("approve", "revoke", "reject", "confirm", "abort", "keep"):
        answer = stage.ask(f"{verb} {said}", "U1" if verb in ("confirm", "abort", "keep") else "U2")
        assert "no deployment" in answer or "no such deployment" in answer, answer
    assert (stage.state(), stage.deployment().approvals) == (S.AWAITING_APPROVAL, ())
    stage.ask("approve 1", "U2")
    assert [one.account for one in stage.deployment().approvals] == ["slack:U2"]


def test_an_approver_who_asked_for_it_cannot_approve(store: SqlStore, database: Engine) -> None:
    """Even with the role for it: four eyes."""
    stage = a_stage(store, database)
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production", "U1")
    stage.ask(f"confirm {SERVICE}#1", "U1")
    both = [role for role in stage.world.roles if role.name == "release"]
    assert both, "the role is there"
    stage.world.house.requests.people.roles = tuple(
        type(role)(role.name, role.members | {"slack:U1"}, role.can) for role in stage.world.roles
    )
    assert "somebody else must approve" in stage.ask(f"approve {SERVICE}#1", "U1")


def test_an_approval_can_be_taken_back_until_it_starts(stage: Stage) -> None:
    """Queued behind a lock, it waits for approval again; once it runs it is too late."""
    stage.build("v1")
    stage.ask(f"lock {SERVICE} in production because the shop is busy")
    approved(stage)
    assert stage.state() is S.QUEUED
    assert stage.deployment().outcome == "locked"
    stage.ask(f"revoke {SERVICE}#1", "U2")
    assert stage.state() is S.AWAITING_APPROVAL
    stage.ask(f"unlock {SERVICE} in production")
    stage.go_on(60)
    assert stage.runs() == []
    stage.ask(f"approve {SERVICE}#1", "U3")
    stage.go_on()
    assert stage.state() is S.DEPLOYING
    assert "cannot be taken back" in stage.ask(f"revoke {SERVICE}#1", "U3")


def test_rejected_is_over(stage: Stage) -> None:
    """Approve and Reject at once: whichever comes first counts, the other one is told."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    stage.world.ask(f"reject {SERVICE}#1 not on a Friday", "U2")
    stage.world.ask(f"approve {SERVICE}#1", "U3")
    stage.world.work()
    assert stage.state() is S.CANCELLED
    assert stage.deployment().detail == "not on a Friday"
    stage.go_on(10)
    assert stage.runs() == []
    assert any("waits for no approval" in said for said in stage.world.said)


def test_unconfirmed_is_forgotten(stage: Stage) -> None:
    """A preview that nobody confirms expires after ten minutes, without a card."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    assert "只有发起人 U1" in stage.ask(f"confirm {SERVICE}#1", "m1")
    stage.go_on(601)
    assert stage.state() is S.EXPIRED
    assert "has ended: ask for it again" in stage.ask(f"confirm {SERVICE}#1")


def test_failed_checks_bring_the_version_before_back(stage: Stage) -> None:
    """v2 fails its check: v1 is deployed again, the place is locked, and both cards say so."""
    stage.good("v1")
    stage.build("v2")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    approved(stage, "v2", 2)
    stage.run_ends()
    assert stage.state(2) is S.ROLLING_BACK
    rollback = stage.deployment(3)
    assert (rollback.kind, rollback.version.name, rollback.rollback_of) == (DeploymentKind.ROLLBACK, "v1", 2)
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(2), stage.state(3)) == (S.ROLLED_BACK, S.SUCCEEDED)
    assert [run["version"] for run in stage.runs()] == ["v1", "v2", "v1"]
    assert "rolled back" in stage.card(2).title
    stage.build("v3")
    approved(stage, "v3", 4)
    assert stage.deployment(4).outcome == "locked"
    stage.ask(f"unlock {SERVICE} in production")
    stage.go_on(1)
    assert stage.state(4) is S.DEPLOYING


def test_a_rollback_that_fails_is_not_rolled_back(stage: Stage) -> None:
    """The second failure calls people instead of going round in circles."""
    stage.good("v1")
    stage.build("v2")
    stage.verification.verdicts["health"] = Verdict.FAILED
    approved(stage, "v2", 2)
    stage.run_ends()
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(2), stage.state(3)) == (S.ROLLBACK_FAILED, S.FAILED)
    assert stage.deployment(3).not_rolled_back == "is_rollback"
    assert stage.newest() == 3
    stage.card(2)
    assert any("rollback failed" in call.title for call in stage.world.messenger.calls)


@pytest.mark.parametrize(
    ("changed", "title", "why"),
    [
        ({"rollback": RollbackRule(is_enabled=False)}, "A change", "off"),
        ({}, "Drop the old column [irreversible]", "irreversible"),
    ],
)
def test_what_keeps_from_rolling_back_is_said(
    store: SqlStore, database: Engine, changed: dict[str, object], title: str, why: str
) -> None:
    """Switched off, or a commit that cannot be undone: the deployment stays failed, and its card says why."""
    stage = a_stage(store, database, **changed)
    stage.good("v1")
    stage.build("v2", title=title)
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    approved(stage, "v2", 2)
    stage.run_ends()
    stage.go_on(60)
    assert stage.state(2) is S.FAILED
    assert stage.deployment(2).not_rolled_back == why
    assert len(stage.runs()) == 2


def test_the_first_version_cannot_be_rolled_back(stage: Stage) -> None:
    """There is nothing to go back to, and that is said."""
    stage.build("v1")
    stage.verification.verdicts["health"] = Verdict.FAILED
    approved(stage)
    stage.run_ends()
    stage.go_on(5)
    assert (stage.state(), stage.deployment().not_rolled_back) == (S.FAILED, "no_previous")
    assert "no earlier version" in stage.ask(f"rollback {SERVICE} in production")


def test_a_run_that_fails_is_rolled_back_too(stage: Stage) -> None:
    """What a broken run left behind is unknown: the version before is brought back."""
    stage.good("v1")
    stage.build("v2")
    approved(stage, "v2", 2)
    stage.run_ends(BuildStatus.FAILED)
    assert stage.state(2) is S.ROLLING_BACK
    assert stage.deployment(2).outcome == "run_failed"


def test_a_lost_answer_starts_nothing_twice(stage: Stage) -> None:
    """The run was started and the answer lost: it is found by what we left in it."""
    stage.build("v1")
    stage.builds.loses_answers = True
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on()
    stage.builds.loses_answers = False
    stage.go_on(10)
    assert len(stage.runs()) == 1
    stage.run_ends()
    assert stage.state() is S.SUCCEEDED


def test_a_version_that_does_not_exist(stage: Stage) -> None:
    """Nothing is filed; the newest good build is named."""
    stage.build("v1")
    assert "user-service#1" in stage.ask(f"deploy {SERVICE} v9 to staging")
    assert "user-service" in stage.ask("deploy other-service v1 to staging")
    assert "staging, production" in stage.ask(f"deploy {SERVICE} v1 to moon")
    stage.build("v2", BuildStatus.FAILED)
    assert "no good build" in stage.ask(f"deploy {SERVICE} v2 to staging")
    assert stage.world.store.read(lambda tx: tx.deployments.newest(None, None, None, 5)) == []


@pytest.mark.parametrize("word", ["v1", "latest green", "#1", "最新", "0000001", "0000001763100000000"])
def test_versions_by_any_name(stage: Stage, word: str) -> None:
    """A branch or tag, the newest good build, a build's number."""
    stage.build("v1")
    stage.build("broken", BuildStatus.FAILED)
    stage.ask(f"deploy {SERVICE} {word} to staging")
    assert stage.deployment().version.build == "build:buildbot/user-service#1"


def test_one_at_a_time_and_in_order(stage: Stage) -> None:
    """A second one of the same environment waits for the first; another environment does not."""
    for version in ("v1", "v2", "v3"):
        stage.build(version)
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on()
    stage.ask(f"deploy {SERVICE} v2 to staging")
    stage.ask(f"deploy {SERVICE} v3 to staging")
    stage.go_on(1)
    assert [stage.state(number) for number in (1, 2, 3)] == [S.DEPLOYING, S.QUEUED, S.QUEUED]
    stage.run_ends()
    assert [stage.state(number) for number in (1, 2, 3)] == [S.SUCCEEDED, S.DEPLOYING, S.QUEUED]
    stage.run_ends()
    stage.run_ends()
    assert [run["version"] for run in stage.runs()] == ["v1", "v2", "v3"]


def test_one_that_waited_goes_back_to_what_was_good_meanwhile(stage: Stage) -> None:
    """v3 was asked for while v1 was there; v2 came before it, so v2 is what its failure brings back."""
    stage.good("v1")
    stage.build("v2", title="Drop the old column [irreversible]")
    stage.build("v3")
    for number, version in ((2, "v2"), (3, "v3")):
        stage.ask(f"deploy {SERVICE} {version} to production")
        stage.ask(f"confirm {SERVICE}#{number}")
        for approver in ("U2", "m2"):
            stage.ask(f"approve {SERVICE}#{number}", approver)
    assert stage.deployment(3).previous == stage.deployment(1).version
    stage.go_on()
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(2), stage.state(3)) == (S.SUCCEEDED, S.DEPLOYING)
    stage.run_ends(BuildStatus.FAILED)
    assert stage.deployment(3).previous == stage.deployment(2).version
    assert len(stage.deployment(3).changes) == 1
    assert stage.deployment(4).version == stage.deployment(2).version


def test_a_newer_one_supersedes_what_waits(store: SqlStore, database: Engine) -> None:
    """As configured: the waiting one gives way, the one under way does not."""
    stage = a_stage(store, database, when_busy=WhenBusy.SUPERSEDE)
    for version in ("v1", "v2", "v3"):
        stage.build(version)
    for number, version in enumerate(("v1", "v2", "v3"), 1):
        approved(stage, version, number)
    assert [stage.state(number) for number in (1, 2, 3)] == [S.DEPLOYING, S.SUPERSEDED, S.QUEUED]


def test_cancelled_while_it_runs(stage: Stage) -> None:
    """Its run is stopped in the CI system, and the card names who asked for that."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on()
    stage.ask(f"cancel deployment:{SERVICE}#1")
    stage.go_on(5)
    assert (stage.state(), stage.deployment().detail) == (S.CANCELLED, "U1")


def test_checks_that_cannot_tell_ask_a_person(stage: Stage) -> None:
    """No data is not health: the card asks, and somebody keeps it."""
    stage.verification.verdicts["health"] = Verdict.NO_DATA
    stage.build("v1")
    approved(stage)
    stage.run_ends()
    stage.go_on(60)
    assert stage.state() is S.VERIFYING
    assert [action.id for action in stage.card().actions][:1] == ["keep"]
    stage.ask(f"keep {SERVICE}#1")
    stage.go_on(1)
    assert stage.state() is S.SUCCEEDED
    assert stage.deployment().outcome == "with_alerts"


def test_a_question_without_an_answer_is_a_failure(stage: Stage) -> None:
    """Half an hour later the version before is brought back."""
    stage.good("v1")
    stage.verification.verdicts["health@v2"] = Verdict.ERROR
    stage.build("v2")
    approved(stage, "v2", 2)
    stage.run_ends()
    stage.go_on(60)
    assert stage.state(2) is S.VERIFYING
    stage.go_on(1900)
    assert stage.deployment(2).outcome == "not_answered"
    assert stage.deployment(2).state in (S.ROLLING_BACK, S.ROLLED_BACK)


def test_break_glass(store: SqlStore, database: Engine) -> None:
    """A named role deploys at once, with a reason, and everybody is told loudly."""
    stage = a_stage(store, database, break_glass=("sre",))
    stage.build("v1")
    assert "break-glass" in stage.ask(f"deploy {SERVICE} v1 to production break-glass")
    assert "无权" in stage.ask(f"deploy {SERVICE} v1 to production break-glass because fire", "m1")
    stage.ask(f"deploy {SERVICE} v1 to production break-glass because fire")
    stage.ask(f"confirm {SERVICE}#1")
    stage.go_on()
    assert stage.state() is S.DEPLOYING
    assert "Without approvals (break-glass)" in str(stage.card().footer)
    said = [call.title for call in stage.world.messenger.calls if "without approvals" in call.title]
    assert [f"{SERVICE}#1" in words and "fire" in words for words in said] == [True]
    key = f"deployment:shipmate/{SERVICE}#1 v1 → production because fire"
    assert stage.world.trail() == [
        ("slack:U1", "deploy", f"{SERVICE} v1 to production break-glass", "refused:missing_argument"),
        ("dingtalk:m1", "deploy", f"{SERVICE} production", "refused:not_granted"),
        ("slack:U1", "deploy", key, "requested:break_glass"),
        ("slack:U1", "confirm", key, "queued:break_glass"),
        ("shipmate", "start", key, "deploying:break_glass"),
    ]


def test_promote_and_order(store: SqlStore, database: Engine) -> None:
    """What staging has goes to production; what never was there may not."""
    stage = a_stage(store, database, after="staging")
    stage.build("v1")
    assert "has to succeed in staging first" in stage.ask(f"deploy {SERVICE} v1 to production")
    stage.good("v1", "staging")
    stage.ask(f"promote {SERVICE} to production")
    assert stage.deployment(2).version.name == "v1"
    assert stage.deployment(2).kind is DeploymentKind.PROMOTE
    stage.ask(f"confirm {SERVICE}#2")
    assert stage.state(2) is S.AWAITING_APPROVAL


def test_what_went_wrong_in_the_environment_before_goes_no_further(store: SqlStore, database: Engine) -> None:
    """It succeeded there, and failed there when it was deployed once more; by any name it is the same version."""
    stage = a_stage(store, database, after="staging")
    stage.good("v1", "staging")
    stage.ask(f"deploy {SERVICE} latest green to production")
    assert stage.state(2) is S.REQUESTED
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(1)
    stage.run_ends(BuildStatus.FAILED)
    assert stage.state(3) is S.FAILED
    for version in ("v1", "latest green", "#1"):
        assert "has to succeed in staging first" in stage.ask(f"deploy {SERVICE} {version} to production")


def test_rolled_back_by_a_person(stage: Stage) -> None:
    """The version before comes back after a confirmation, and the one that it undoes says so."""
    stage.good("v1")
    stage.good("v2")
    preview = stage.ask(f"rollback {SERVICE} in production")
    assert "Roll user-service back" in preview
    stage.ask(f"confirm {SERVICE}#3")
    assert stage.state(2) is S.ROLLING_BACK
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(2), stage.state(3)) == (S.ROLLED_BACK, S.SUCCEEDED)
    assert [run["version"] for run in stage.runs()] == ["v1", "v2", "v1"]


def test_checks_that_could_never_tell_keep_it_from_starting(stage: Stage) -> None:
    """A metrics system that is away is found before anything is changed."""
    stage.verification.problems = ["errors: prometheus: connection_refused"]
    stage.build("v1")
    approved(stage)
    assert stage.state() is S.FAILED
    assert stage.deployment().detail == "errors: prometheus: connection_refused"
    assert stage.runs() == []


def test_what_is_where(stage: Stage) -> None:
    """`deployments` shows versions, locks and what is under way; `whats-in` the commits that wait."""
    stage.good("v1")
    stage.build("v2", title="Fix USER-7")
    stage.ask(f"lock {SERVICE} in staging because load test")
    card = stage.ask("deployments")
    assert "Deployments" in card
    answer = stage.world.card_answer()
    assert isinstance(answer.sections[0], Lines)
    stage.ask(f"whats-in {SERVICE} production")
    whats_in = stage.world.answer
    assert isinstance(whats_in, Card)
    [commits] = [section for section in whats_in.sections if isinstance(section, Lines)]
    assert "Fix USER-7" in str(commits.items)


def test_alerts_do_not_roll_back(store: SqlStore, database: Engine) -> None:
    """A check whose failure only alerts leaves the deployment standing, and says so."""
    quiet = type(CHECK)("health", CHECK.kind, duration_s=30.0, on={Verdict.FAILED: Policy.ALERT})
    stage = a_stage(store, database, checks=(quiet,))
    stage.good("v1")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    stage.build("v2")
    approved(stage, "v2", 2)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(2), stage.deployment(2).outcome) == (S.SUCCEEDED, "with_alerts")


@pytest.mark.parametrize("verb", sorted(DEPLOYMENT_VERBS))
def test_who_may_not_is_refused_on_the_record(stage: Stage, verb: Verb) -> None:
    """Every verb that changes something about deployments, by a person without any role: nothing moves."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    before = stage.deployment()
    lines = {
        Verb.DEPLOY: f"deploy {SERVICE} v1 to staging",
        Verb.PROMOTE: f"promote {SERVICE} to production",
        Verb.ROLLBACK: f"rollback {SERVICE} in production",
        Verb.LOCK: f"lock {SERVICE} because I can",
        Verb.UNLOCK: f"unlock {SERVICE}",
    }
    assert "no role" in stage.ask(lines.get(verb, f"{verb} {SERVICE}#1"), "U9")
    [refusal] = [entry for entry in stage.world.trail() if entry[0] == "slack:U9"]
    assert (refusal[1], refusal[3].partition(":")[0]) == (verb.value, "refused")
    assert stage.deployment() == before
    assert stage.newest() == 1


def test_dora_figures_of_what_was_deployed(stage: Stage) -> None:
    """One good one, one that was rolled back: half of the changes failed, and the time to restore is known."""
    stage.good("v1")
    stage.build("v2")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    approved(stage, "v2", 2)
    stage.run_ends()
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    assert "DORA" in stage.ask(f"dora {SERVICE}")
    [figures] = stage.world.house.answers.dora(SERVICE)
    assert (figures.succeeded, figures.failed, figures.failure_rate) == (1, 1, 0.5)
    assert figures.restore_s is not None
    assert figures.restore_s > 0
