"""What people are called for while a deployment goes its way: names of the notices below its card."""

from __future__ import annotations

from bot.domain.deployment_effects import CUT_SHORT, TOGETHER
from bot.domain.deployments import FAILED_STATES, Deployment, DeploymentState

WITH_ALERTS = "with_alerts"
_OUTAGES = frozenset({"ci_away", "run_unseen"})  # they end by themselves, and may come again
# Ends that nobody decided, before it began.
VOID = frozenset(
    {
        "requester_refused",
        "version_moved",
        "older_unshown",
        "overtaken",
        "outdated",
        "went_wrong",
        "not_good_before",
        "not_approved",
        "queued_too_long",
        "never_taken",
    }
)


def remind_at(deployment: Deployment) -> float | None:
    """When those who may approve are reminded: at half time; None when they are not."""
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
    # of what was rolled back, or could not be, notices of their own tell; what had succeeded before never failed
    has_failed = deployment.undone_from not in (DeploymentState.SUCCEEDED, DeploymentState.ROLLBACK_FAILED)
    if deployment.state in FAILED_STATES - {DeploymentState.ROLLED_BACK} and has_failed:
        names.append("failed")
    if deployment.state.is_ended and deployment.outcome == CUT_SHORT:
        names.append(CUT_SHORT)
    if deployment.state is DeploymentState.SUCCEEDED and _has_unanswered_alerts(deployment):
        names.append("alert")
    if deployment.state.is_ended and deployment.outcome in VOID:
        names.append("void")
    has_own = deployment.rollback_outcome != TOGETHER  # people are called once for all that a way back undoes
    if deployment.state in (DeploymentState.ROLLED_BACK, DeploymentState.ROLLBACK_FAILED) and has_own:
        names.append(deployment.state.value)
    return names


def _has_unanswered_alerts(deployment: Deployment) -> bool:
    """Whether checks were not well of which nobody has said that it is in order."""
    return deployment.outcome == WITH_ALERTS and not set(deployment.detail.split(", ")) <= set(deployment.kept)


def _asking(deployment: Deployment) -> str:
    """A name for each kind of question, for each more check that is asked about, and for each outage of its own."""
    asked_about = len(deployment.asked_about) + len(deployment.kept) if deployment.asked_about else ""
    since = f":{deployment.unseen_since:.0f}" if deployment.question in _OUTAGES else ""
    return f"question:{deployment.question.partition(':')[0]}{asked_about}{since}"


def is_over(notice: str, deployment: Deployment) -> bool:
    """Whether such a notice is about an outage that is over."""
    since = notice.split(":")[2:]
    return bool(since) and since != [f"{deployment.unseen_since:.0f}"]


def question_in(notice: str) -> tuple[str, int]:
    """The kind of question of such a notice, and how many checks people were asked about; 0 where it is about none."""
    kind = notice.split(":")[1]
    words = kind.rstrip("0123456789")
    return words, int(kind[len(words) :] or 0)


def _asking_for_approval(deployment: Deployment) -> list[str]:
    """A call when it begins to wait and one at half time, each time that it waits; why it waits again may call too."""
    again = f"{deployment.asked_again + 1}" if deployment.asked_again else ""
    names = []
    if deployment.outcome == "more_approvals":
        names.append(f"raised{deployment.terms.approvals}")
    elif deployment.outcome != "approval_struck":
        names.append(f"approval{again}")
    if deployment.struck:
        names.append(f"struck{len(deployment.struck)}")
    return [*names, f"reminder{again}"] if deployment.reminded_at else names


def asks_people(notice: str) -> bool:
    """Whether a notice of `notices_of` asks people for something, and does not only say what its card says too."""
    return notice != "approval" and notice.startswith(("approval", "reminder", "question", "struck", "raised"))
