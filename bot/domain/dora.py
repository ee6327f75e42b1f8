"""The four DORA figures, from our own records.

- Deployment frequency: deployments that succeeded, a day. Rollbacks do not count.
- Lead time: from the start of the build that a version was found as to the success of its deployment; the median.
- Change failure rate: the share of those that were started and failed, whether or not they were rolled back. One that a
  person cancelled is neither, nor is an order that never ran.
- Time to restore: from a failure to the next success in the same environment, be it a rollback's or that of a newer
  version; the median. A failure that nothing has followed yet is counted as open. What had succeeded and was rolled
  back failed when its way back was first asked for, and counts by that time; a way back that was not confirmed, or
  never ran, says nothing. What was undone together with something later had been replaced before: it has no time of
  its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bot.domain.deployment_effects import has_changed
from bot.domain.deployment_notices import WITH_ALERTS
from bot.domain.deployments import FAILED_STATES, Deployment, DeploymentKind, DeploymentState

DAY_S = 86_400.0
_S = DeploymentState


@dataclass(frozen=True, slots=True)
class Dora:
    """The figures of one service in one environment over `days`; seconds, and None where nothing tells."""

    service: str
    environment: str
    days: float
    succeeded: int
    failed: int
    lead_time_s: float | None
    restore_s: float | None
    open_failures: int = 0

    @property
    def per_day(self) -> float:
        """Deployments a day."""
        return self.succeeded / self.days

    @property
    def failure_rate(self) -> float | None:
        """Between 0 and 1; None without any."""
        total = self.succeeded + self.failed
        return self.failed / total if total else None


def dora_of(ended: Sequence[Deployment], built_at: Mapping[str, float], *, since: float, until: float) -> list[Dora]:
    """The figures of each service and environment; `ended` are all that ended since `since`, in any order.

    With them must be what those among them undid that are rollbacks, whenever that ended.
    `built_at` says when a build (the text of its key) began, seconds since 1970.
    """
    lines: dict[tuple[str, str], list[Deployment]] = {}
    asked_back = _asked_back(ended)
    for deployment in sorted(ended, key=lambda one: (one.ended_at, one.number)):
        if since <= _judged_at(deployment, asked_back) <= until and deployment.started_at:
            lines.setdefault((deployment.service, deployment.environment), []).append(deployment)
    days = max(until - since, 1.0) / DAY_S
    return [_figures(line, rows, built_at, days) for line, rows in sorted(lines.items())]


def _figures(line: tuple[str, str], rows: Sequence[Deployment], built_at: Mapping[str, float], days: float) -> Dora:
    changes = [one for one in rows if one.kind is not DeploymentKind.ROLLBACK]
    succeeded = [one for one in changes if _succeeded(one)]
    failed = [one for one in changes if one.state in FAILED_STATES and has_changed(one)]
    leads = [
        one.ended_at - built_at[one.version.build]
        for one in succeeded
        if one.version.build in built_at and one.ended_at >= built_at[one.version.build]
    ]
    ways_back = {one.number: one.rollback_of for one in rows if one.rollback_of}
    its_own = [one for one in failed if ways_back.get(one.rolled_back_by, one.number) == one.number]
    asked_back = _asked_back(rows)
    was_good = [one for one in rows if _succeeded(one) or _was_good(one)]
    restored = [_restored_after(one, _judged_at(one, asked_back), was_good) for one in its_own]
    known = [seconds for seconds in restored if seconds is not None]
    return Dora(
        *line,
        days=days,
        succeeded=len(succeeded),
        failed=len(failed),
        lead_time_s=median(leads) if leads else None,
        restore_s=median(known) if known else None,
        open_failures=len(restored) - len(known),
    )


def _succeeded(deployment: Deployment) -> bool:
    return deployment.state is _S.SUCCEEDED


def _was_good(undone: Deployment) -> bool:
    """Whether something had succeeded before its way back was asked for, also where that one failed at first."""
    is_again = undone.undone_from is _S.ROLLBACK_FAILED and undone.outcome in ("", WITH_ALERTS)
    return undone.state in FAILED_STATES and (undone.undone_from is _S.SUCCEEDED or is_again)


def _asked_back(rows: Sequence[Deployment]) -> dict[int, float]:
    """When the first way back from each deployment was asked for, of those that began to change anything."""
    began = (one for one in rows if one.rollback_of and has_changed(one))
    ways = sorted(began, key=lambda one: one.requested_at, reverse=True)
    return {one.rollback_of: one.requested_at for one in ways}


def _judged_at(deployment: Deployment, asked_back: Mapping[int, float]) -> float:
    """When it was known how it came out: what had succeeded failed when its way back was asked for."""
    return asked_back.get(deployment.number, deployment.ended_at) if _was_good(deployment) else deployment.ended_at


def _restored_after(failed: Deployment, at: float, was_good: Sequence[Deployment]) -> float | None:
    """Seconds from `at` until the environment was well again, whatever was undone together with something later."""
    later = [one.ended_at for one in was_good if one.ended_at >= at and one is not failed]
    return min(later) - at if later else None
