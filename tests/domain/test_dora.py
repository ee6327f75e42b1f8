"""The four figures, held to their definitions."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.deployments import Deployment, DeploymentKind, DeploymentState, Requester, Run, Version
from bot.domain.dora import DAY_S, Dora, dora_of

S = DeploymentState
HOUR = 3600.0


def ended(number: int, state: DeploymentState, at: float, **changed: object) -> Deployment:
    """A deployment to production that came to `state` at `at`."""
    version = Version(f"v{number}", build=f"build:buildbot/web#{number}")
    made = Deployment(number, "web", "production", version, Requester("slack:U1", "Ada"), at - HOUR)
    made = replace(made, state=state, started_at=at - 600.0, ended_at=at, run=Run(at - 600.0, "17"))
    return replace(made, **changed)  # type: ignore[arg-type]  # fields of a Deployment


def figures(*deployments: Deployment, built: dict[str, float] | None = None) -> Dora:
    """The figures of ten days."""
    [found] = dora_of(deployments, built or {}, since=0.0, until=10 * DAY_S)
    return found


def test_frequency_counts_what_succeeded_and_no_rollback() -> None:
    """Five good ones and a rollback in ten days are half a deployment a day."""
    good = [ended(number, S.SUCCEEDED, number * DAY_S) for number in range(1, 6)]
    rollback = ended(9, S.SUCCEEDED, 7 * DAY_S, kind=DeploymentKind.ROLLBACK)
    found = figures(*good, rollback)
    assert (found.succeeded, found.per_day) == (5, 0.5)


def test_lead_time_is_the_median_from_the_build_to_the_success() -> None:
    """One whose build is not known says nothing."""
    rows = [ended(number, S.SUCCEEDED, 5 * DAY_S + number) for number in (1, 2, 3, 4)]
    built = {f"build:buildbot/web#{number}": 5 * DAY_S + number - number * HOUR for number in (1, 2, 3)}
    assert figures(*rows, built=built).lead_time_s == 2 * HOUR


def test_failure_rate_counts_failures_however_they_ended() -> None:
    """Rolled back, not rolled back, and a rollback that failed: three of four. A cancelled one is neither."""
    rows = [
        ended(1, S.SUCCEEDED, DAY_S),
        ended(2, S.FAILED, 2 * DAY_S),
        ended(3, S.ROLLED_BACK, 3 * DAY_S),
        ended(4, S.ROLLBACK_FAILED, 4 * DAY_S),
        ended(5, S.CANCELLED, 5 * DAY_S),
    ]
    assert (figures(*rows).failure_rate, figures(*rows).failed) == (0.75, 3)


def test_restored_by_a_rollback_or_by_a_newer_version() -> None:
    """The first success after the failure counts, whichever it is; what nothing followed is open."""
    rows = [
        ended(1, S.ROLLED_BACK, DAY_S),
        ended(2, S.SUCCEEDED, DAY_S + 300.0, kind=DeploymentKind.ROLLBACK),
        ended(3, S.FAILED, 2 * DAY_S),
        ended(4, S.SUCCEEDED, 2 * DAY_S + 900.0),
        ended(5, S.FAILED, 3 * DAY_S),
    ]
    found = figures(*rows)
    assert (found.restore_s, found.open_failures) == (600.0, 1)


def test_what_was_never_started_is_no_deployment() -> None:
    """Rejected or expired before it began: no line at all."""
    assert dora_of([ended(1, S.EXPIRED, DAY_S, started_at=0.0)], {}, since=0.0, until=10 * DAY_S) == []


def test_an_order_that_changed_nothing_is_no_failed_change() -> None:
    """The CI system refused it: neither a failure nor something to be restored."""
    refused = ended(2, S.FAILED, 2 * DAY_S, run=Run(2 * DAY_S), outcome="refused")
    found = figures(ended(1, S.SUCCEEDED, DAY_S), refused)
    assert (found.failed, found.failure_rate, found.open_failures) == (0, 0.0, 0)


def test_what_was_undone_with_a_later_one_took_no_time_to_restore() -> None:
    """It had been replaced long before; it counts as a failure all the same."""
    rows = [
        ended(2, S.ROLLED_BACK, DAY_S, rolled_back_by=4),
        ended(3, S.ROLLED_BACK, 2 * DAY_S, rolled_back_by=4),
        ended(4, S.SUCCEEDED, 2 * DAY_S + 300.0, kind=DeploymentKind.ROLLBACK, rollback_of=3),
    ]
    found = figures(*rows)
    assert (found.failed, found.restore_s, found.open_failures) == (2, 300.0, 0)


def test_what_restored_it_did_so_though_it_is_undone_by_now() -> None:
    """A rollback that brought it back in five minutes is itself undone with something later: it was five minutes."""
    way_back = ended(2, S.ROLLED_BACK, DAY_S + 300.0, kind=DeploymentKind.ROLLBACK)
    rows = [
        ended(1, S.ROLLED_BACK, DAY_S, undone_from=S.FAILED, rolled_back_by=2),
        replace(way_back, rollback_of=1, undone_from=S.SUCCEEDED, rolled_back_by=4),
        ended(3, S.ROLLED_BACK, 5 * DAY_S, undone_from=S.SUCCEEDED, rolled_back_by=4),
        ended(4, S.SUCCEEDED, 5 * DAY_S + 300.0, kind=DeploymentKind.ROLLBACK, rollback_of=3, requested_at=5 * DAY_S),
    ]
    assert figures(*rows).restore_s == 300.0


def test_what_had_succeeded_failed_when_its_way_back_was_asked_for() -> None:
    """Not when it succeeded, ten days before, nor with the way back that did not get through at first."""
    rows = [
        ended(1, S.FAILED, DAY_S),
        ended(2, S.ROLLED_BACK, DAY_S + 60.0, undone_from=S.SUCCEEDED, rolled_back_by=3),
        ended(3, S.SUCCEEDED, 9 * DAY_S, rollback_of=2, kind=DeploymentKind.ROLLBACK, requested_at=9 * DAY_S - 30.0),
    ]
    assert figures(*rows).restore_s == (60.0 + 30.0) / 2
    tried = replace(rows[2], state=S.FAILED, number=4, requested_at=9 * DAY_S - 90.0, ended_at=9 * DAY_S - 60.0)
    again = replace(rows[1], undone_from=S.ROLLBACK_FAILED)
    assert figures(again, tried, rows[2]).restore_s == 90.0


def test_a_failure_counts_by_when_it_was_known() -> None:
    """What succeeded before the time that is looked at, and was rolled back within it."""
    undone = ended(2, S.ROLLED_BACK, DAY_S, undone_from=S.SUCCEEDED, rolled_back_by=3)
    back = ended(3, S.SUCCEEDED, 9 * DAY_S, rollback_of=2, kind=DeploymentKind.ROLLBACK, requested_at=9 * DAY_S - 30.0)
    [found] = dora_of([undone, back], {}, since=5 * DAY_S, until=10 * DAY_S)
    assert (found.failed, found.restore_s) == (1, 30.0)
    failed = replace(undone, undone_from=S.FAILED, outcome="checks_failed")
    [found] = dora_of([failed, back], {}, since=5 * DAY_S, until=10 * DAY_S)
    assert (found.failed, found.restore_s) == (0, None)


def test_a_way_back_that_nobody_took_says_nothing() -> None:
    """A preview that was not confirmed, and an order that never ran: the version stayed good until the next one."""
    undone = ended(2, S.ROLLED_BACK, DAY_S, undone_from=S.SUCCEEDED, rolled_back_by=5)
    never = ended(3, S.CANCELLED, 2 * DAY_S, rollback_of=2, kind=DeploymentKind.ROLLBACK, run=None)
    preview = replace(never, number=4, state=S.EXPIRED, requested_at=5 * DAY_S - 60.0, ended_at=5 * DAY_S + 60.0)
    preview = replace(preview, started_at=0.0)
    back = ended(5, S.SUCCEEDED, 9 * DAY_S, rollback_of=2, kind=DeploymentKind.ROLLBACK, requested_at=9 * DAY_S - 30.0)
    assert figures(undone, never, back).restore_s == 30.0
    [found] = dora_of([undone, preview, back], {}, since=5 * DAY_S, until=10 * DAY_S)
    assert (found.failed, found.restore_s) == (1, 30.0)
