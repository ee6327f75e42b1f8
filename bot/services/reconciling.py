"""Builds of which a source told, and nobody heard: they are looked for in its history, and taken in like any other.

One job a source, leased like any work, remembers how far its history was read: no two workers read the same, and what
was missed while nothing ran is read when something runs again.
"""

from __future__ import annotations

from bot.domain.events import Event
from bot.domain.retries import pause_s
from bot.errors import IntegrationError
from bot.ports import BuildHistory, Clock, JobRecord, Store, Transaction
from bot.services.ingest import Ingest, Outcome
from bot.services.settling import Settling
from bot.services.sources import Sources
from bot.telemetry import JOBS, RECONCILED, logger

KIND = "reconcile"
PERIOD_S = 60.0
CATCH_UP_S = 2.0
LIMIT = 50
OLDEST_S = 86400.0  # what ended longer ago than this is no news

log = logger(__name__)


def plan_reconciling(store: Store, clock: Clock, sources: Sources) -> None:
    """Make sure that each source with a history has its job."""
    at = clock.now().timestamp()

    def work(tx: Transaction) -> None:
        for name in sorted(sources.with_history()):
            tx.jobs.add(f"{KIND}:{name}", KIND, name, {}, due_at=at, at=at)

    store.write(work)


class Reconciling:
    """Compares what sources list with what is known of it."""

    def __init__(self, store: Store, clock: Clock, sources: Sources, ingest: Ingest) -> None:
        self._settling = Settling.of(store)
        self._store = store
        self._clock = clock
        self._sources = sources
        self._ingest = ingest
        for name in sources.with_history():
            RECONCILED.labels(name)  # from 0 on: for Prometheus a series that begins at 1 has not increased

    def step(self, job: JobRecord) -> None:
        """Read the next part of a source's history, take in what is new, and note how far it was read."""
        history = self._sources.history(job.subject)
        if history is None:  # taken out of the configuration
            self._store.write(lambda tx: tx.jobs.settle(job, due_at=None))
            JOBS.labels(KIND, "needless").inc()
            return
        try:
            self._read(job, history)
        except IntegrationError as problem:
            if job.tries == 0:
                log.warning("history cannot be read, trying again", source=job.subject, error=problem)
            self.put_off(job, outcome=f"retry:{problem.reason}", least_s=problem.retry_after_s or 0.0)

    def put_off(self, job: JobRecord, *, outcome: str = "retry:unexpected", least_s: float = 0.0) -> None:
        """Try again later, ever more seldom, and for ever: its source may come back any time."""
        due_at = self._now() + max(PERIOD_S, pause_s(job.tries + 1), least_s)
        self._settling.settle(job, lambda tx: tx.jobs.settle(job, due_at=due_at, tries=job.tries + 1))
        JOBS.labels(KIND, outcome).inc()

    def _read(self, job: JobRecord, history: BuildHistory) -> None:
        begun = history.begun_since(str(job.arguments.get("mark", "")), LIMIT)
        for event in begun.events:
            self._take(job, event)
        now = self._now()
        is_behind = not begun.is_all or now - float(job.arguments.get("at", now)) > 2 * PERIOD_S
        due_at = now + (CATCH_UP_S if is_behind else PERIOD_S)
        arguments = {"mark": begun.mark, "at": now}
        self._settling.settle(job, lambda tx: tx.jobs.settle(job, due_at=due_at, arguments=arguments))
        JOBS.labels(KIND, "looked").inc()

    def _take(self, job: JobRecord, event: Event) -> None:
        """Take in a build that nobody heard of, or the end of one; what is known already leaves no trace."""
        if self._now() - event.occurred_at.timestamp() > OLDEST_S:
            return
        if self._settling.insist(job, lambda: self._store.read(lambda tx: _is_known(tx, event))):
            return
        if self._settling.insist(job, lambda: self._ingest.accept([event])) == [Outcome.ACCEPTED]:
            RECONCILED.labels(event.source).inc()
            log.warning("a build nobody told of was found", build=str(event.subject), phase=event.phase.name.lower())

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _is_known(tx: Transaction, event: Event) -> bool:
    record = tx.subjects.get(event.subject)
    if record is None:
        return False
    known = (record.folded.generation, record.folded.attempt, record.folded.phase)
    return known >= (event.generation, event.attempt, event.phase)
