"""The run that carries a deployment out: ordered once, looked for where nobody knows of it, followed to its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bot.domain.deployments import Deployment, DeploymentState, Run, move, note
from bot.domain.services import Target
from bot.errors import Conflict, DestinationGone, IntegrationError, LeaseLost, OutcomeUnknown
from bot.ports.deploying import DeploySystem, Order, RunReport, RunState
from bot.services.acting import TRIGGER_WITHIN_S
from bot.services.checking import CERTAIN_AFTER_S, LONGEST_PAUSE_S
from bot.services.deployments.judging import (
    CI_AWAY,
    LOOK_S,
    REST_S,
    goes_on,
    in_doubt,
    judge_run,
    order_of,
    ordered,
    pipeline_of,
    set_back,
    still_running,
    unseen,
)
from bot.services.deployments.records import Records
from bot.services.deployments.stepping import UNREACHABLE_S, Step, Stepping
from bot.services.steps import LATE_UNTIL, late_noted
from bot.telemetry import logger

NEVER_RAN = frozenset({"request_cancelled", "request_superseded"})  # in the CI system's queue, before a run began

log = logger(__name__)
_S = DeploymentState
_NEEDS_SYSTEM = frozenset({_S.QUEUED, _S.DEPLOYING})


class Running:
    """Orders runs, and takes deployments on as theirs go."""

    def __init__(self, records: Records, systems: Mapping[str, DeploySystem], stepping: Stepping) -> None:
        self._records = records
        self._systems = dict(systems)
        self._steps = stepping

    def is_known(self, deployment: Deployment, target: Target) -> bool:
        """Whether what its run is asked of is configured: it may have been asked of another system than it would be."""
        return deployment.state not in _NEEDS_SYSTEM or pipeline_of(deployment, target).source in self._systems

    def probe(self, step: Step) -> None:
        """Return where its run can be ordered, or is refused when it is; IntegrationError where nobody would answer."""
        try:
            self._system(step).probe(order_of(step.deployment, step.target))
        except IntegrationError as problem:
            if problem.recoverable:
                raise

    def resume(self, step: Step) -> bool:
        """Go on with a run that is there though its order was said never to have arrived; False where there is none.

        IntegrationError while nobody can say.
        """
        found, deployment = self._system(step).find(order_of(step.deployment, step.target)), step.deployment
        if found is None:
            return False
        asked = ordered(deployment, step.target, self._records.now())
        run = replace(found, asked_at=asked.asked_at, source=asked.source, pipeline=asked.pipeline)
        there = note(deployment, run=run, question="", unseen_since=0.0, put_off_since=0.0)
        self._steps.settle(step, lambda now: move(there, _S.DEPLOYING, now))
        return True

    def carry(self, step: Step) -> None:
        """Follow its run, or look whether there is one."""
        run = step.deployment.run
        assert run is not None  # it was stored together with the state
        if run.request:
            self._follow(step, run)
        else:
            self._look_for_run(step, run)

    def _look_for_run(self, step: Step, run: Run) -> None:
        """A run that an earlier call may have started is found, or there certainly is none: then it is judged anew."""
        try:
            found = self._system(step).find(order_of(step.deployment, step.target))
        except IntegrationError as problem:
            self._unknown(step, problem, certain_at=run.certain_at)
            return
        if found is not None:
            self._known(step, found)
        elif self._records.now() < run.certain_at:
            self._steps.note(step, lambda now: (step.deployment, min(run.certain_at, now + UNREACHABLE_S)))
        elif by := step.deployment.stop_asked_by:
            deployment = step.deployment
            self._steps.settle(step, lambda now: move(deployment, _S.CANCELLED, now, outcome="stopped", detail=by))
        else:
            pause_s = self._pause_s(step.deployment)
            self._steps.settle(
                step, lambda now: set_back(step.deployment, now, "order_lost", run=None), pause_s=pause_s
            )

    def trigger(self, step: Step) -> None:
        """Start the run, once that was noted; a worker that took too long to get here starts nothing any more."""
        system, order, run = self._system(step), order_of(step.deployment, step.target), step.deployment.run
        assert run is not None  # it was stored together with the state
        if self._records.now() > run.certain_at - CERTAIN_AFTER_S + TRIGGER_WITHIN_S:
            raise LeaseLost(f"too late to start {step.deployment.key.short}: others may look for its run soon")
        try:
            taken_on = system.deploy(order)
        except Conflict as problem:
            self._refused(step, "refused", str(problem))
        except OutcomeUnknown as problem:
            late_until = late_noted(problem, self._records.now()).get(LATE_UNTIL, 0.0)
            self._unknown(step, problem, certain_at=max(run.certain_at, late_until))
        except IntegrationError as problem:
            if problem.recoverable:
                self._put_off(step, problem)
                return
            self._refused(step, problem.reason, f"{problem.system}: {problem.detail or problem.reason}")
        else:
            self._known(step, taken_on)

    def _refused(self, step: Step, outcome: str, detail: str) -> None:
        """End one whose run was not taken on: nothing was changed."""
        failed = {"outcome": outcome, "detail": detail[:500]}
        self._steps.settle(step, lambda now: move(step.deployment, _S.FAILED, now, **failed))

    def _put_off(self, step: Step, problem: IntegrationError) -> None:
        """Queue one anew whose order never arrived."""
        log.warning("run not ordered, queued anew", number=step.deployment.number, error=problem)
        now = self._records.now()
        pause_s = max(problem.retry_after_s or 0.0, self._pause_s(step.deployment))
        run = Run(step.deployment.run.asked_at if step.deployment.run else now)
        back = set_back(step.deployment, now, CI_AWAY, run=run, detail=problem.system)
        self._steps.settle(step, lambda _: back, pause_s=pause_s)

    def _pause_s(self, deployment: Deployment) -> float:
        """How long until its next order: the longer its orders come to nothing, the longer."""
        now = self._records.now()
        return max(UNREACHABLE_S, min((now - (deployment.unseen_since or now)) / 4, LONGEST_PAUSE_S))

    def _known(self, step: Step, run: Run) -> None:
        """Store what its system calls the run; it is followed from now on."""
        asked = step.deployment.run or run
        known = replace(run, asked_at=asked.asked_at, source=asked.source, pipeline=asked.pipeline)
        told = note(step.deployment, run=known, question="", unseen_since=0.0, put_off_since=0.0)
        self._steps.note(step, lambda now: (told, now + LOOK_S))

    def _unknown(self, step: Step, problem: IntegrationError, *, certain_at: float) -> None:
        """Nobody can say whether there is a run: looked for again, and a person is told when that takes long."""
        log.warning("run not started or not known, looked at again", number=step.deployment.number, error=problem)

        def later(now: float) -> tuple[Deployment, float]:
            pause_s = max(UNREACHABLE_S, problem.retry_after_s or 0.0)
            return in_doubt(step.deployment, step.target, certain_at, now), now + pause_s

        self._steps.note(step, later)

    def _follow(self, step: Step, run: Run) -> None:
        """Look how the run stands: only its own system says whether it went well."""
        deployment = step.deployment
        system, order = self._system(step), order_of(deployment, step.target)
        try:
            unheeded = self._stop(system, order, run, by) if (by := deployment.stop_asked_by) else None
            report = system.look(order, run)
        except DestinationGone as problem:
            self._gone(step, run, problem)
            return
        except IntegrationError as problem:
            log.warning("run not seen, looked at again", number=deployment.number, error=problem)
            pause_s = max(UNREACHABLE_S, problem.retry_after_s or 0.0)
            self._steps.note(step, lambda now: (unseen(deployment, now), now + pause_s))
            return
        if unheeded is not None and report.state in (RunState.WAITING, RunState.RUNNING):
            at_once = not unheeded.recoverable
            self._steps.note(step, lambda now: (goes_on(deployment, report.run, now, at_once=at_once), now + REST_S))
        else:
            self._judge(step, report)

    def _gone(self, step: Step, run: Run, problem: DestinationGone) -> None:
        """End one whose run its system has no more, or never began: because we took it out of the queue, or others."""
        never_ran, by = problem.reason in NEVER_RAN, step.deployment.stop_asked_by
        known = None if never_ran else run  # where nothing ran there is nothing to undo
        if never_ran and by:
            to, why = _S.CANCELLED, {"outcome": "stopped", "detail": by}
        else:
            to, outcome = (_S.CANCELLED, "never_ran") if never_ran else (_S.FAILED, "run_gone")
            why = {"outcome": outcome, "detail": problem.detail or problem.reason}
        self._steps.settle(step, lambda now: move(step.deployment, to, now, run=known, **why))

    def _stop(self, system: DeploySystem, order: Order, run: Run, by: str) -> IntegrationError | None:
        """Ask for its end; why that came to nothing, where a look may still tell how it goes."""
        try:
            system.stop(replace(order, asked_by=by), run)
        except DestinationGone:
            raise
        except IntegrationError as problem:
            log.warning("run not stopped", error=problem)
            return problem
        return None

    def _judge(self, step: Step, report: RunReport) -> None:
        deployment, target = step.deployment, step.target
        if report.state in (RunState.WAITING, RunState.RUNNING):
            self._steps.note(step, lambda now: still_running(deployment, target, report.run, now))
        else:
            self._steps.settle(step, lambda now: judge_run(deployment, target, report, now))

    def _system(self, step: Step) -> DeploySystem:
        return self._systems[pipeline_of(step.deployment, step.target).source]
