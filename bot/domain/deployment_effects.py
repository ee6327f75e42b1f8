"""What a deployment did to its environment, as far as it tells itself."""

from __future__ import annotations

from bot.domain.deployments import Deployment, DeploymentState, Version

# Ends that a person decided for a run that nobody could follow: it may have begun, and may still go on.
ABANDONED, NOT_CONFIGURED = "abandoned", "not_configured"
BY_ITSELF = "rollback"  # the origin of one that nobody asked for: a failure was undone
TOGETHER = "together"  # what became of one that was undone with a later one: the way back led past both
CUT_SHORT = "cut_short"  # its run was cancelled half way, and not by us


def is_unseen(ended: Deployment) -> bool:
    """Whether it ended without anybody knowing what became of its run."""
    return ended.run is not None and ended.started_at > 0 and ended.outcome in (ABANDONED, NOT_CONFIGURED)


def has_changed(deployment: Deployment) -> bool:
    """Whether it is known to have begun to change anything: its system took the order, and began the run.

    What ended unseen counts as if it had.
    """
    was_taken = deployment.run is not None and bool(deployment.run.request)
    return was_taken or is_unseen(deployment) or deployment.state is DeploymentState.SUCCEEDED


def locks_by_hand(ended: Deployment) -> bool:
    """Whether it is a rollback that a person asked for, and that changed something: its environment is locked then."""
    is_by_hand = ended.rollback_of > 0 and ended.origin != BY_ITSELF
    return is_by_hand and ended.state.is_ended and has_changed(ended)


def is_older(one: Version, other: Version) -> bool:
    """Whether a version was built before another one; False where their builds do not tell."""
    (project, _, number), (other_project, _, other_number) = (version.build.rpartition("#") for version in (one, other))
    if project != other_project or not (number.isdecimal() and other_number.isdecimal()):
        return False
    return int(number) < int(other_number)
