"""Takes deployments a step further: each step asks the outside first, then changes the snapshot in one transaction.

What was decided outside a transaction counts only if the deployment still stands where it stood, and the lease is
still ours: else the next step judges anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bot.domain.deployment_notices import remind_at
from bot.domain.deployments import FAILED_STATES, Deployment, DeploymentState, Run, move, note
from bot.domain.services import Service, Target
from bot.errors import Conflict, DestinationGone, IntegrationError, LeaseLost, OutcomeUnknown
from bot.ports import Transaction
from bot.ports.deploying import DeploymentLease, DeploySystem, Order, RunReport, RunState
from bot.services.acting import TRIGGER_WITHIN_S
from bot.services.checking import CERTAIN_AFTER_S
from bot.services.deployments.ending import Ending
from bot.services.deployments.gate import QUEUE_S, RECHECK, SHUT, Gate, Held
from bot.services.deployments.judging import (
    LOOK_S,
    REST_S,
    in_doubt,
    judge_checks,
    judge_run,
    next_look_at,
    order_of,
    ordered,
    pipeline_of,
    still_running,
    unseen,
)
from bot.services.deployments.orphans import Orphans
from bot.services.deployments.records import Cause, Records
from bot.services.deployments.standing import in_place_of, outdated_by, overtaken_by
from bot.services.deployments.verifying import Verifying
from bot.services.steps import LATE_UNTIL, late_noted
from bot.services.verification import Verification
from bot.telemetry import logger

LEASE_S = 60.0
UNREACHABLE_S = 5.0
NEVER_RAN = frozenset({"request_cancelled", "request_superseded"})  # in the CI system's queue, before a run began

log = logger(__name__)
_S = DeploymentState


@dataclass(frozen=True, slots=True)
class Step:
    """One lease, with what the configuration says of the deployment."""

    lease: DeploymentLease
    deployment: Deployment
    target: Target


class DeploymentWorker:
    """Carries deployments out, under leases."""

    def __init__(
        self,
        records: Records,
        services: Mapping[str, Service],
        systems: Mapping[str, DeploySystem],
        verification: Verification,
        ending: Ending,
        gate: Gate,
    ) -> None:
        self._records = records
        self._services = dict(services)
        self._systems = dict(systems)
        self._verifying = Verifying(records, verification)
        self._ending = ending
        self._gate = gate
        self._orphans = Orphans(records, ending)

    def claim(self, limit: int) -> list[DeploymentLease]:
        """Take up to `limit` deployments that are due."""
        now = self._records.now()
        store = self._records.store
        return list(store.write(lambda tx: tx.deployments.lease(now, now + LEASE_S, limit), is_patient=False))

    def carry_out(self, lease: DeploymentLease) -> None:
        """Do the next step of one."""
        deployment = lease.deployment
        service = self._services.get(deployment.service)
        target = service.targets.get(deployment.environment) if service else None
        if target is None or not self._is_known(deployment, target):
            self._orphans.tend(lease, target)
            return
        step = Step(lease, deployment, target)
        match deployment.state:
            case _S.REQUESTED | _S.AWAITING_APPROVAL:
                self._wait(step)
            case _S.QUEUED:
                self._start(step)
            case _S.DEPLOYING:
                self._carry(step)
            case _S.VERIFYING:
                self._verify(step)
            case _:
                self._rest(lease)
        self._records.ring()

    def put_off(self, lease: DeploymentLease) -> None:
        """Let one rest whose step ended in a mistake of ours; the state it is in was stored, it goes on from there."""
        due_at = self._records.now() + REST_S
        self._records.store.write(lambda tx: tx.deployments.release(lease, due_at=due_at))

    # --- before anything starts

    def _wait(self, step: Step) -> None:
        """Remind those who may approve, once; after the last moment nobody can."""

        def work(tx: Transaction, current: Deployment) -> None:
            now, expires_at = self._records.now(), current.terms.expires_at
            if now >= expires_at:
                outcome = "not_confirmed" if current.state is _S.REQUESTED else "not_approved"
                self._records.put(tx, move(current, _S.EXPIRED, now, outcome=outcome), Cause("expire"), due_at=None)
                return
            reminder = remind_at(current)
            if reminder is not None and now >= reminder:
                reminded = note(current, reminded_at=now)
                self._records.put(tx, reminded, Cause("remind"), due_at=expires_at)
                return
            self._give_back(tx, step.lease, min(reminder or expires_at, expires_at))

        self._change(step, work)

    def _start(self, step: Step) -> None:
        """Let one begin that nothing holds back; who asked, who approved and what will measure it is seen to first."""
        deployment, target = step.deployment, step.target
        seen = away = None
        if self._records.store.read(lambda tx: self._gate.held(tx, deployment, target)) is None:
            try:
                seen = self._gate.look(deployment, target)
            except IntegrationError as problem:
                away = Held("approvers_unknown", problem.system, self._records.now() + UNREACHABLE_S)
        may_begin = seen is not None and not (seen.void or seen.refused)
        if may_begin and (obstacle := self._gate.obstacle(deployment, target)):
            self._settle(step, lambda now: move(deployment, _S.FAILED, now, outcome="not_ready", detail=obstacle))
            return

        def work(tx: Transaction, current: Deployment) -> None:
            why = away or self._gate.held(tx, current, target)
            if why is None and seen is not None and seen.void:
                self._ending.end(tx, self._gate.ended(tx, current, seen), target, RECHECK)
                return
            if why is None and seen is not None:
                why = self._begin(tx, step, self._gate.strike(tx, current, seen, target))
                if why is None:
                    return
            # Without a reason it was freed a moment ago: who approved it is asked first.
            self._stay_queued(tx, step, current, why or Held(current.outcome, current.detail, self._records.now()))

        begun = self._change(step, work)
        if begun is not None and begun.state is _S.DEPLOYING:
            self._trigger(replace(step, deployment=begun))

    def _begin(self, tx: Transaction, step: Step, judged: Deployment) -> Held | None:
        """Store that it began, or that it may not any more; what holds it back where another one was faster."""
        now = self._records.now()
        if judged.state is _S.AWAITING_APPROVAL:
            self._records.put(tx, judged, RECHECK, due_at=now)
            self._give_back(tx, step.lease, now)
            return None
        newer, why = overtaken_by(tx, judged), "overtaken"
        if newer is None:
            newer, why = outdated_by(tx, judged, step.target), "outdated"
        if newer is not None:
            ended = move(judged, _S.SUPERSEDED, now, outcome=why, detail=newer.key.short)
            self._ending.end(tx, ended, step.target, Cause("supersede"))
            return None
        there = in_place_of(tx, judged)
        try:
            started = move(there, _S.DEPLOYING, now, run=ordered(there, step.target, now))
            self._records.put(tx, started, Cause("start"), due_at=now + LEASE_S)
        except Conflict as problem:
            return Held("busy", str(problem), now + REST_S)
        return None

    def _stay_queued(self, tx: Transaction, step: Step, current: Deployment, why: Held) -> None:
        """Wait on, for a week at most, which begins anew when the calendar lets it begin at last."""
        now, is_shut = self._records.now(), why.outcome in SHUT
        has_opened = current.outcome in SHUT and not is_shut
        since = now if has_opened else max(current.state_since, current.let_at)
        if now - since > QUEUE_S and not is_shut:
            late = move(current, _S.EXPIRED, now, outcome="queued_too_long")
            self._ending.end(tx, late, step.target, Cause("expire"))
            return
        if (current.outcome, current.detail) != (why.outcome, why.detail):
            held = note(current, outcome=why.outcome, detail=why.detail, let_at=now if has_opened else current.let_at)
            self._records.progress(tx, held, due_at=why.due_at)
        self._give_back(tx, step.lease, why.due_at)

    # --- the run

    def _carry(self, step: Step) -> None:
        run = step.deployment.run
        assert run is not None  # it was stored together with the state
        if run.request:
            self._follow(step, run)
        else:
            self._look_for_run(step, run)

    def _look_for_run(self, step: Step, run: Run) -> None:
        """A run that an earlier call may have started is found, or there certainly is none: then it is ordered anew."""
        try:
            found = self._system(step).find(order_of(step.deployment, step.target))
        except IntegrationError as problem:
            self._unknown(step, problem, certain_at=run.certain_at)
            return
        if found is not None:
            self._known(step, found)
        elif self._records.now() < run.certain_at:
            self._note(step, lambda now: (step.deployment, min(run.certain_at, now + UNREACHABLE_S)))
        elif by := step.deployment.stop_asked_by:
            deployment = step.deployment
            self._settle(step, lambda now: move(deployment, _S.CANCELLED, now, outcome="stopped", detail=by))
        else:
            self._order_anew(step)

    def _order_anew(self, step: Step) -> None:
        """Note that a call is made, before it is."""

        def work(tx: Transaction, current: Deployment) -> None:
            now = self._records.now()
            asking = note(current, run=ordered(current, step.target, now))
            self._records.progress(tx, asking, due_at=now + LEASE_S)

        asked = self._change(step, work)
        if asked is not None:
            self._trigger(replace(step, deployment=asked))

    def _trigger(self, step: Step) -> None:
        """Start the run, once that was noted; a worker that took too long to get here starts nothing any more."""
        system, order, run = self._system(step), order_of(step.deployment, step.target), step.deployment.run
        assert run is not None  # it was stored together with the state
        if self._records.now() > run.certain_at - CERTAIN_AFTER_S + TRIGGER_WITHIN_S:
            raise LeaseLost(f"too late to start {step.deployment.key.short}: others may look for its run soon")
        try:
            ordered = system.deploy(order)
        except Conflict as problem:
            detail = str(problem)
            self._settle(step, lambda now: move(step.deployment, _S.FAILED, now, outcome="refused", detail=detail))
        except OutcomeUnknown as problem:
            late_until = late_noted(problem, self._records.now()).get(LATE_UNTIL, 0.0)
            self._unknown(step, problem, certain_at=max(run.certain_at, late_until))
        except IntegrationError as problem:
            if problem.recoverable:
                self._unknown(step, problem, certain_at=0.0)
                return
            detail = f"{problem.system}: {problem.detail or problem.reason}"
            reason = problem.reason
            self._settle(step, lambda now: move(step.deployment, _S.FAILED, now, outcome=reason, detail=detail[:500]))
        else:
            self._known(step, ordered)

    def _known(self, step: Step, run: Run) -> None:
        """Store what its system calls the run; it is followed from now on."""
        asked = step.deployment.run or run
        known = replace(run, asked_at=asked.asked_at, source=asked.source, pipeline=asked.pipeline)
        self._note(step, lambda now: (note(step.deployment, run=known, question=""), now + LOOK_S))

    def _unknown(self, step: Step, problem: IntegrationError, *, certain_at: float) -> None:
        """Nobody can say whether there is a run: looked for again, and a person is told when that takes long."""
        log.warning("run not started or not known, looked at again", number=step.deployment.number, error=problem)

        def later(now: float) -> tuple[Deployment, float]:
            pause_s = max(UNREACHABLE_S, problem.retry_after_s or 0.0)
            return in_doubt(step.deployment, step.target, certain_at, now), now + pause_s

        self._note(step, later)

    def _follow(self, step: Step, run: Run) -> None:
        """Look how the run stands: only its own system says whether it went well."""
        deployment = step.deployment
        system, order = self._system(step), order_of(deployment, step.target)
        try:
            if deployment.stop_asked_by:
                self._stop(system, order, run)
            report = system.look(order, run)
        except DestinationGone as problem:
            detail, never_ran = problem.detail or problem.reason, problem.reason in NEVER_RAN
            to, outcome = (_S.CANCELLED, "never_ran") if never_ran else (_S.FAILED, "run_gone")
            known = None if never_ran else run  # where nothing ran there is nothing to undo
            self._settle(step, lambda now: move(deployment, to, now, outcome=outcome, detail=detail, run=known))
            return
        except IntegrationError as problem:
            log.warning("run not seen, looked at again", number=deployment.number, error=problem)
            pause_s = max(UNREACHABLE_S, problem.retry_after_s or 0.0)
            self._note(step, lambda now: (unseen(deployment, now), now + pause_s))
            return
        self._judge(step, report)

    def _stop(self, system: DeploySystem, order: Order, run: Run) -> None:
        try:
            system.stop(order, run)
        except Conflict as problem:
            log.info("run not stopped yet", error=problem)

    def _judge(self, step: Step, report: RunReport) -> None:
        deployment, target = step.deployment, step.target
        if report.state in (RunState.WAITING, RunState.RUNNING):
            self._note(step, lambda now: still_running(deployment, target, report.run, now))
        else:
            self._settle(step, lambda now: judge_run(deployment, target, report, now))

    # --- the checks

    def _verify(self, step: Step) -> None:
        """Measure what is due, then judge: enough failures end it at once, whoever is being asked meanwhile."""
        deployment, target = step.deployment, step.target
        checks = self._verifying.look(deployment, target)
        likely = judge_checks(target, replace(deployment, checks=checks), self._records.now())
        figures = self._verifying.figures_of(deployment, target) if likely.state is _S.SUCCEEDED else ()

        def work(tx: Transaction, current: Deployment) -> None:
            now = self._records.now()
            verdict = judge_checks(target, replace(current, checks=checks), now)
            if verdict.state.is_ended:
                self._ending.end(tx, replace(verdict, figures=figures), target, Cause("verify"))
                return
            due_at = next_look_at(verdict, now)
            if (verdict.checks, verdict.question) != (current.checks, current.question):
                self._records.progress(tx, verdict, due_at=due_at)
            self._give_back(tx, step.lease, due_at)

        after = self._change(step, work)
        if after is not None and after.state in FAILED_STATES and not figures:
            self._verifying.add_figures(after, target)

    # --- storing

    def _settle(self, step: Step, next_: Callable[[float], Deployment]) -> None:
        """Store the next state; an end also ends what hangs on it."""

        def work(tx: Transaction, _current: Deployment) -> None:
            after = next_(self._records.now())
            if after.state.is_ended:
                self._ending.end(tx, after, step.target, Cause("carry_out"))
            else:
                self._records.put(tx, after, Cause("carry_out"), due_at=self._records.now())
                self._give_back(tx, step.lease, self._records.now())

        self._change(step, work)

    def _note(self, step: Step, next_: Callable[[float], tuple[Deployment, float]]) -> None:
        """Store what is newly known, if anything is, and when to look again."""

        def work(tx: Transaction, current: Deployment) -> None:
            after, due_at = next_(self._records.now())
            if after.revision != current.revision:
                self._records.progress(tx, after, due_at=due_at)
            self._give_back(tx, step.lease, due_at)

        self._change(step, work)

    def _change(self, step: Step, work: Callable[[Transaction, Deployment], None]) -> Deployment | None:
        """Run `work` on the deployment under its row's lock; None where it has moved on since it was taken up."""

        def guarded(tx: Transaction) -> Deployment | None:
            tx.deployments.hold_line(step.deployment.service, step.deployment.environment)
            current = tx.deployments.get(step.deployment.number, for_change=True)
            if not tx.deployments.holds(step.lease):
                raise LeaseLost(f"another worker has {step.deployment.key.short}")
            if current is None or current.revision != step.deployment.revision:
                tx.deployments.release(step.lease, due_at=self._records.now())
                return None
            work(tx, current)
            return tx.deployments.get(current.number)

        return self._records.store.write(guarded)

    def _give_back(self, tx: Transaction, lease: DeploymentLease, due_at: float) -> None:
        tx.deployments.release(lease, due_at=due_at)

    def _rest(self, lease: DeploymentLease) -> None:
        self._records.store.write(lambda tx: tx.deployments.release(lease, due_at=None))

    def _is_known(self, deployment: Deployment, target: Target) -> bool:
        """Whether what its run is asked of is configured: it may have been asked of another system than it would be."""
        return deployment.state is not _S.DEPLOYING or pipeline_of(deployment, target).source in self._systems

    def _system(self, step: Step) -> DeploySystem:
        return self._systems[pipeline_of(step.deployment, step.target).source]
