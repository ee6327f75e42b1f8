"""Takes deployments a step further: each step asks the outside first, then changes the snapshot in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bot.domain.deployment_notices import remind_at
from bot.domain.deployments import ACTIVE, FAILED_STATES, Deployment, DeploymentState, move, note
from bot.domain.services import Service, Target
from bot.errors import Conflict, IntegrationError
from bot.ports import Transaction
from bot.ports.deploying import DeploymentLease, DeploySystem
from bot.services.deployments.ending import Ending
from bot.services.deployments.gate import QUEUE_S, RECHECK, UNKNOWN, Gate, Held, Seen
from bot.services.deployments.judging import (
    CI_AWAY,
    REST_S,
    SHUT,
    answered,
    judge_checks,
    next_look_at,
    ordered,
    pipeline_of,
    queued_since,
    unanswered,
)
from bot.services.deployments.orphans import Orphans
from bot.services.deployments.records import Cause, Records
from bot.services.deployments.running import Running
from bot.services.deployments.standing import begins_at, in_place_of, overtaken
from bot.services.deployments.stepping import LEASE_S, UNREACHABLE_S, Step, Stepping
from bot.services.deployments.verifying import Verifying
from bot.services.settling import held_for
from bot.services.verification import Verification
from bot.telemetry import logger

AWAY_S = 2 * LEASE_S  # later than that no other worker was there either

log = logger(__name__)
_S = DeploymentState


class DeploymentWorker:
    """Carries deployments out, under leases."""

    lease_s = LEASE_S

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
        self._steps = Stepping(records, ending)
        self._running = Running(records, systems, self._steps)
        self._verifying = Verifying(records, verification)
        self._ending = ending
        self._gate = gate
        self._orphans = Orphans(records, ending)

    def claim(self, limit: int) -> list[DeploymentLease]:
        """Take up to `limit` deployments that are due."""
        held_until, now = held_for(LEASE_S), self._records.now()
        store = self._records.store
        leases = store.write(lambda tx: tx.deployments.lease(now, now + LEASE_S, limit), is_patient=False)
        return [replace(lease, held_until=held_until) for lease in leases]

    def carry_out(self, lease: DeploymentLease) -> None:
        """Do the next step of one."""
        deployment = lease.deployment
        service = self._services.get(deployment.service)
        target = service.targets.get(deployment.environment) if service else None
        if target is None or not self._running.is_known(deployment, target):
            self._orphans.tend(lease, target)
            return
        if self._gate.learning.catch_up(lease, target):
            return
        step = Step(lease, deployment, target)
        match deployment.state:
            case _S.REQUESTED | _S.AWAITING_APPROVAL:
                self._wait(step)
            case _S.QUEUED:
                self._start(step)
            case _S.DEPLOYING:
                self._running.carry(step)
            case _S.VERIFYING:
                self._verify(step)
            case _:
                self._steps.release(lease, None)
        self._records.ring()

    def put_off(self, lease: DeploymentLease) -> None:
        """Let one rest whose step ended in a mistake of ours; the state it is in was stored, it goes on from there."""
        self._steps.release(lease, self._records.now() + REST_S)

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
            self._steps.give_back(tx, step.lease, min(reminder or expires_at, expires_at))

        self._steps.change(step, work)

    def _start(self, step: Step) -> None:
        """Let one begin that nothing holds back; who asked, who approved and who will run it is seen to first."""
        deployment, target = step.deployment, step.target
        try:
            if deployment.run is not None and self._running.resume(step):
                return
            told = self._ask(step)
        except IntegrationError as problem:
            pause_s = max(UNREACHABLE_S, problem.retry_after_s or 0.0)
            told = Held(CI_AWAY, problem.system, self._records.now() + pause_s)
        seen = told if isinstance(told, Seen) else None
        may_begin = seen is not None and not (seen.void or seen.refused)
        if may_begin and (obstacle := self._gate.obstacle(deployment, target)):
            not_ready = {"outcome": "not_ready", "detail": obstacle}
            self._steps.settle(step, lambda now: move(deployment, _S.FAILED, now, **not_ready))
            return

        def work(tx: Transaction, current: Deployment) -> None:
            why = told if isinstance(told, Held) else self._gate.held(tx, current, target)
            if why is None and seen is not None and seen.void:
                self._ending.end(tx, self._gate.ended(tx, current, seen), target, RECHECK)
                return
            if why is None and current.put_off_since and self._is_late(current):
                self._expire(tx, current, target, Held(CI_AWAY, pipeline_of(current, target).source, 0.0))
                return
            if why is None and seen is not None:
                why = self._begin(tx, step, self._gate.strike(tx, current, seen, target))
                if why is None:
                    return
            # Without a reason it was freed a moment ago: who approved it is asked first.
            self._stay_queued(tx, step, current, why or Held(current.outcome, current.detail, self._records.now()))

        begun = self._steps.change(step, work)
        if begun is not None and begun.state is _S.DEPLOYING:
            self._running.trigger(replace(step, deployment=begun))

    def _ask(self, step: Step) -> Seen | Held | None:
        """What is said elsewhere of one that nothing here holds back; IntegrationError where nobody would run it."""
        deployment, target = step.deployment, step.target
        if self._records.store.read(lambda tx: self._gate.held(tx, deployment, target)) is not None:
            return None
        try:
            seen = self._gate.look(deployment, target)
        except IntegrationError as problem:
            return Held(UNKNOWN, problem.system, self._records.now() + UNREACHABLE_S)
        if not seen.void:
            self._running.probe(step)
        return seen

    def _begin(self, tx: Transaction, step: Step, judged: Deployment) -> Held | None:
        """Store that it began, or that it may not any more; what holds it back where another one was faster."""
        now, has_opened = self._records.now(), judged.outcome in SHUT
        if judged.state is _S.AWAITING_APPROVAL:
            self._records.put(tx, judged, RECHECK, due_at=now)
            self._steps.give_back(tx, step.lease, now)
            return None
        why = overtaken(tx, judged, step.target)
        if why is not None:
            ended = move(judged, _S.SUPERSEDED, now, outcome=why.outcome, detail=why.about)
            self._ending.end(tx, ended, step.target, Cause("supersede"))
            return None
        there = in_place_of(tx, judged)
        try:
            there = replace(there, let_at=now if has_opened else there.let_at)
            run, at = ordered(there, step.target, now), begins_at(tx, there, now)
            started = move(there, _S.DEPLOYING, now, run=run, question="", started_at=at)
            self._records.put(tx, started, Cause("start"), due_at=now + LEASE_S)
        except Conflict:
            active = tx.deployments.newest(judged.service, judged.environment, ACTIVE, 1)
            return Held("busy", active[0].key.short if active else "", now + REST_S)
        return None

    def _stay_queued(self, tx: Transaction, step: Step, current: Deployment, why: Held) -> None:
        """Wait on, for a week at most."""
        now, is_shut = self._records.now(), why.outcome in SHUT
        has_opened = current.outcome in SHUT and not is_shut
        if not is_shut and self._is_late(current):
            self._expire(tx, current, step.target, why)
            return
        held = unanswered(current, now) if why.outcome == CI_AWAY else answered(current)
        if (held.outcome, held.detail) != (why.outcome, why.detail):
            held = note(held, outcome=why.outcome, detail=why.detail, let_at=now if has_opened else current.let_at)
        if held.revision != current.revision:
            self._records.progress(tx, held, due_at=why.due_at)
        self._steps.give_back(tx, step.lease, why.due_at)

    def _is_late(self, current: Deployment) -> bool:
        """Whether it waits for a whole week; where the calendar held it back until now, that begins now."""
        now = self._records.now()
        return current.outcome not in SHUT and now - queued_since(current) > QUEUE_S

    def _expire(self, tx: Transaction, current: Deployment, target: Target, why: Held) -> None:
        """End one that waited for too long, and say for what where that was its CI system."""
        is_away = why.outcome == CI_AWAY
        outcome, detail = ("never_taken", why.detail) if is_away else ("queued_too_long", "")
        late = move(current, _S.EXPIRED, self._records.now(), outcome=outcome, detail=detail)
        self._ending.end(tx, late, target, Cause("expire"))

    # --- the checks

    def _verify(self, step: Step) -> None:
        """Measure what is due, then judge: enough failures end it at once, whoever is being asked meanwhile."""
        deployment, target = step.deployment, step.target
        checks = self._verifying.look(step.lease, deployment, target)
        was_away = self._records.now() - step.lease.due_at > AWAY_S
        seen = replace(deployment, checks=checks)
        likely = judge_checks(target, seen, self._records.now(), was_away=was_away)
        figures = self._verifying.figures_of(deployment, target) if likely.state is _S.SUCCEEDED else ()

        def work(tx: Transaction, current: Deployment) -> None:
            now = self._records.now()
            verdict = judge_checks(target, replace(current, checks=checks), now, was_away=was_away)
            if verdict.state.is_ended:
                self._ending.end(tx, replace(verdict, figures=figures), target, Cause("verify"))
                return
            due_at = next_look_at(verdict, now)
            asks_anew = (verdict.question, verdict.asked_at) != (current.question, current.asked_at)
            if asks_anew or verdict.checks != current.checks:
                self._records.progress(tx, verdict, due_at=due_at)
            self._steps.give_back(tx, step.lease, due_at)

        after = self._steps.change(step, work)
        if after is not None and after.state in FAILED_STATES and not figures:
            self._verifying.add_figures(step.lease, after, target)
