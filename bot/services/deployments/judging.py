"""What a deployment orders and how it is judged, as the configuration says; pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from bot.domain.checks import Policy, Verdict, begin
from bot.domain.commands import SPECS, Verb
from bot.domain.deciding import ANSWER_S, about_checks
from bot.domain.deployment_effects import CUT_SHORT
from bot.domain.deployments import Deployment, DeploymentKind, DeploymentState, Run, move, note
from bot.domain.services import Pipeline, Target
from bot.domain.templates import deployment_values
from bot.ports.deploying import Order, RunReport, RunState
from bot.services.checking import CERTAIN_AFTER_S
from bot.services.verification import CheckContext

REST_S = 15.0
LOOK_S, LONGEST_LOOK_S = 2.0, 15.0
DOUBT_S = 600.0
CI_AWAY = "ci_away"
SHUT = frozenset({"window", "freeze"})  # what the calendar holds back waits for as long as it takes
_S = DeploymentState
_VERBS = {
    DeploymentKind.DEPLOY: Verb.DEPLOY,
    DeploymentKind.PROMOTE: Verb.PROMOTE,
    DeploymentKind.ROLLBACK: Verb.ROLLBACK,
}


def pipeline_of(deployment: Deployment, target: Target) -> Pipeline:
    """The pipeline that carries it out: a rollback may have its own; where a run was asked for it stays that one."""
    said = template_of(target, is_rollback=deployment.rollback_of > 0).filled(values_of(deployment))
    run = deployment.run
    return replace(said, source=run.source, project=run.pipeline) if run and run.pipeline else said


def ordered(deployment: Deployment, target: Target, now: float) -> Run:
    """The run that is about to be asked for, of the pipeline that the configuration names now."""
    said = pipeline_of(replace(deployment, run=None), target)
    asked_at = deployment.run.asked_at if deployment.run else now
    return Run(asked_at, certain_at=now + CERTAIN_AFTER_S, source=said.source, pipeline=said.project)


def template_of(target: Target, *, is_rollback: bool) -> Pipeline:
    """The same before it is filled."""
    return target.rollback.pipeline if is_rollback and target.rollback.pipeline else target.deploy


def values_of(deployment: Deployment) -> dict[str, str]:
    """What its templates are filled with."""
    previous = deployment.previous.name if deployment.previous else ""
    return deployment_values(
        deployment.service, deployment.environment, deployment.version.name, deployment.version.commit, previous
    )


def order_of(deployment: Deployment, target: Target) -> Order:
    """What its system is asked for; the correlation is the same at every try."""
    pipeline = pipeline_of(deployment, target)
    since = deployment.run.asked_at if deployment.run else deployment.state_since
    return Order(
        pipeline.project,
        pipeline.parameters,
        f"deployment-{deployment.number}-{deployment.requested_at:.0f}",
        deployment.requester.name,
        datetime.fromtimestamp(since, UTC),
    )


def context_of(deployment: Deployment) -> CheckContext:
    """What its checks are told of it."""
    return CheckContext(
        service=deployment.service,
        environment=deployment.environment,
        version=deployment.version.name,
        commit=deployment.version.commit,
        previous_version=deployment.previous.name if deployment.previous else "",
        started_at=deployment.started_at,
        there_since=min((check.began_at for check in deployment.checks), default=0.0),
    )


def judge_checks(target: Target, deployment: Deployment, now: float, *, was_away: bool = False) -> Deployment:
    """The deployment after its checks stand as they do: ended, asking somebody, or as it was.

    People have so long to answer since they were asked; anew where the bot `was_away`.
    """
    specs = {spec.name: spec for spec in target.checks}
    ended = [one for one in deployment.checks if one.verdict is not None]
    bad = [(one, specs[one.name].policy(one.verdict)) for one in ended if one.verdict is not None and one.name in specs]
    bad = [(one, policy) for one, policy in bad if one.verdict is not Verdict.PASSED and policy is not Policy.IGNORE]
    failed = [one for one, policy in bad if policy is Policy.ROLLBACK]
    if len(failed) >= target.rollback.max_failures:
        words = "; ".join(f"{one.name}: {one.last_detail}" for one in failed)
        return move(deployment, _S.FAILED, now, outcome="checks_failed", detail=words[:500])
    asked = [one for one, policy in bad if policy is Policy.ASK and one.name not in deployment.kept]
    question = about_checks([one.name for one in asked])
    if asked:
        is_news = was_away or not deployment.asked_at or not {one.name for one in asked} <= set(deployment.asked_about)
        deployment = replace(deployment, asked_at=now if is_news else deployment.asked_at)
        if now - deployment.asked_at > ANSWER_S:
            return move(deployment, _S.FAILED, now, outcome="not_answered", detail=", ".join(one.name for one in asked))
    if asked or len(ended) < len(deployment.checks):
        return note(deployment, question=question)
    alerts = [one.name for one, _ in bad]
    outcome = "with_alerts" if alerts else ""
    return move(deployment, _S.SUCCEEDED, now, outcome=outcome, detail=", ".join(alerts), question="")


def next_look_at(deployment: Deployment, now: float) -> float:
    """When the next check is due; one that only waits for an answer is looked at now and then."""
    running = [one.next_at for one in deployment.checks if one.verdict is None]
    return min(running) if running else now + REST_S


def carried_out(deployment: Deployment, target: Target, run: Run, now: float) -> Deployment:
    """The deployment after its run went well: to be verified, or done where nothing is to be checked."""
    if not target.checks:
        return move(deployment, _S.SUCCEEDED, now, run=run, question="")
    checks = tuple(begin(spec, now) for spec in target.checks)
    return move(deployment, _S.VERIFYING, now, run=run, checks=checks, question="")


def judge_run(deployment: Deployment, target: Target, report: RunReport, now: float) -> Deployment:
    """The deployment after the end of its run, as its system tells of it."""
    run = report.run
    match report.state:
        case RunState.SUCCEEDED:
            return carried_out(deployment, target, run, now)
        case RunState.CANCELLED:
            by = deployment.stop_asked_by
            return move(deployment, _S.CANCELLED, now, outcome="stopped" if by else CUT_SHORT, detail=by, run=run)
        case _:
            return move(deployment, _S.FAILED, now, outcome="run_failed", detail=report.detail[:500], run=run)


def still_running(deployment: Deployment, target: Target, run: Run, now: float) -> tuple[Deployment, float]:
    """The deployment while its run goes on, and when to look again."""
    went_s = now - deployment.state_since
    question = "takes_long" if went_s > target.timeout_s else ""
    if (run, question, 0.0) != (deployment.run, deployment.question, deployment.unseen_since):
        deployment = note(deployment, run=run, question=question, unseen_since=0.0)
    return deployment, now + min(max(LOOK_S, went_s / 60.0), LONGEST_LOOK_S)


def goes_on(deployment: Deployment, run: Run, now: float, *, at_once: bool) -> Deployment:
    """The deployment while its run goes on though its end was asked for: people are asked to end it where it runs.

    `at_once` where the system refuses to stop it, else after some time: it may be about to end.
    """
    since = deployment.unseen_since or now
    question = "not_stopped" if at_once or now - since > DOUBT_S else deployment.question
    if (run, since, question) == (deployment.run, deployment.unseen_since, deployment.question):
        return deployment
    return note(deployment, run=run, unseen_since=since, question=question)


def unseen(deployment: Deployment, now: float) -> Deployment:
    """The deployment while nobody can say how its run goes: after some time people are asked to look."""
    since = deployment.unseen_since or now
    question = "run_unseen" if now - since > DOUBT_S else deployment.question
    if (since, question) == (deployment.unseen_since, deployment.question):
        return deployment
    return note(deployment, unseen_since=since, question=question)


def in_doubt(deployment: Deployment, target: Target, certain_at: float, now: float) -> Deployment:
    """The deployment while nobody can say whether it has a run: after some time people are asked to look."""
    run = deployment.run
    assert run is not None  # it was stored together with the state
    asks = now - deployment.state_since > min(DOUBT_S, target.timeout_s)
    question = "run_unknown" if asks else deployment.question
    if (question, certain_at) == (deployment.question, run.certain_at):
        return deployment
    return note(deployment, question=question, run=replace(run, certain_at=certain_at))


def set_back(deployment: Deployment, now: float, outcome: str, *, run: Run | None, detail: str = "") -> Deployment:
    """The deployment back in the queue, for its order came to nothing: whether it may begin is judged anew.

    With a `run` that one is looked for once more before anything else. People are called where that goes on: its system
    may answer what it is asked for, and take no order all the same.
    """
    since = deployment.unseen_since or now
    return move(
        deployment,
        _S.QUEUED,
        now,
        outcome=outcome,
        detail=detail,
        run=run,
        started_at=0.0,
        unseen_since=since,
        put_off_since=deployment.put_off_since or now,
        question=CI_AWAY if now - since > DOUBT_S else "",
    )


def queued_since(deployment: Deployment) -> float:
    """Since when it waits: orders that come to nothing do not renew that, and a calendar that lets it begin does."""
    return max(deployment.put_off_since or deployment.state_since, deployment.let_at)


def unanswered(deployment: Deployment, now: float) -> Deployment:
    """The deployment while the system that would carry it out does not answer: after some time people are called."""
    since = deployment.unseen_since or now
    question = CI_AWAY if now - since > DOUBT_S else deployment.question
    if (since, question) == (deployment.unseen_since, deployment.question):
        return deployment
    return note(deployment, unseen_since=since, question=question)


def answered(deployment: Deployment) -> Deployment:
    """The deployment where that system has answered, and something else holds it back."""
    if deployment.run is None and not (deployment.unseen_since or deployment.question):
        return deployment
    return note(deployment, run=None, unseen_since=0.0, question="")


def permission_to(kind: DeploymentKind) -> str:
    """What a role must allow whoever asks for it."""
    return SPECS[_VERBS[kind]].permission


def turn_of(deployment: Deployment) -> tuple[bool, bool, int]:
    """Whose turn comes first: rollbacks, then break-glass, then the others, each in the order of their numbers."""
    return deployment.rollback_of == 0, not deployment.terms.is_break_glass, deployment.number
