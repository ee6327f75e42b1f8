"""What people are called for while a deployment goes its way: names of the notices below its card."""

from __future__ import annotations

from bot.domain.deployment_effects import CUT_SHORT
from bot.domain.deployments import FAILED_STATES, Deployment, DeploymentState

WITH_ALERTS = "with_alerts"
# Ends that nobody decided, before it began.
VOID = frozenset(
    {
        "requester_refused",
        "version_moved",
        "overtaken",
        "outdated",
        "went_wrong",
        "not_good_before",
        "queued_too_long",
        "never_taken",
    }
)


def remind_at(deployment: Deployment) -> float | None:
    """When those who may approve are reminded: at half time, once; None when they are not."""
    if deployment.state is not DeploymentState.AWAITING_APPROVAL or deployment.reminded_at:
        return None
    return deployment.state_since + (deployment.terms.expires_at - deployment.state_since) / 2


def notices_of(deployment: Deployment) -> list[str]:
    """What people are called for as the deployment stands, beside what they were called for before."""
    names = []
    if deployment.is_loud:
        names.append("break_glass")
    if deployment.state is DeploymentState.AWAITING_APPROVAL:
        names += _asking_for_approval(deployment)
    if deployment.question and not deployment.state.is_ended:
        names.append(_asking(deployment))
    if deployment.stop_asked_by and deployment.state in (DeploymentState.VERIFYING, DeploymentState.SUCCEEDED):
        names.append("stopped_late")
    if deployment.state in FAILED_STATES - {DeploymentState.ROLLED_BACK}:  # of that a notice of its own tells
        names.append("failed")
    if deployment.state.is_ended and deployment.outcome == CUT_SHORT:
        names.append(CUT_SHORT)
    if deployment.state is DeploymentState.SUCCEEDED and _has_unanswered_alerts(deployment):
        names.append("alert")
    if deployment.state.is_ended and deployment.outcome in VOID:
        names.append("void")
    if deployment.state in (DeploymentState.ROLLED_BACK, DeploymentState.ROLLBACK_FAILED):
        names.append(deployment.state.value)
    return names


def _has_unanswered_alerts(deployment: Deployment) -> bool:
    """Whether checks were not well of which nobody has said that it is in order."""
    return deployment.outcome == WITH_ALERTS and not set(deployment.detail.split(", ")) <= set(deployment.kept)


def _asking(deployment: Deployment) -> str:
    """A name for each kind of question, and another one for each more check that is asked about."""
    asked_about = len(deployment.asked_about) + len(deployment.kept) if deployment.asked_about else ""
    return f"question:{deployment.question.partition(':')[0]}{asked_about}"


def question_in(notice: str) -> tuple[str, int]:
    """The kind of question of such a notice, and how many checks people were asked about; 0 where it is about none."""
    kind = notice.partition(":")[2]
    words = kind.rstrip("0123456789")
    return words, int(kind[len(words) :] or 0)


def _asking_for_approval(deployment: Deployment) -> list[str]:
    names = ["approval", "reminder"] if deployment.reminded_at else ["approval"]
    if deployment.outcome == "more_approvals":
        names.append(f"raised{deployment.terms.approvals}")
    if deployment.struck:
        names.append(f"struck{len(deployment.struck)}")
    return names


def asks_people(notice: str) -> bool:
    """Whether a notice of `notices_of` asks people for something, and does not only say what its card says too."""
    return notice == "reminder" or notice.startswith(("question", "struck", "raised"))
