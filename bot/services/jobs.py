"""Work that makes events: asking a source for what its webhooks lack, and how a running build gets on."""

from __future__ import annotations

from bot.domain.retries import pause_s
from bot.domain.subjects import SubjectKey
from bot.errors import IntegrationError
from bot.ports import Clock, JobRecord, Store
from bot.services.ingest import Ingest
from bot.services.sources import Sources
from bot.telemetry import JOBS, logger

LEASE_S = 30.0
MOST_TRIES = 8
PACES = ((60.0, 3.0), (300.0, 10.0), (3600.0, 60.0))
SLOWEST_S = 600.0
GIVE_UP_S = 7 * 86400.0

log = logger(__name__)


class JobWorker:
    """Carries out `enrich` and `poll`; what they find is stored as an event and folds like any other."""

    def __init__(self, store: Store, clock: Clock, sources: Sources, ingest: Ingest) -> None:
        self._store = store
        self._clock = clock
        self._sources = sources
        self._ingest = ingest

    def claim(self, limit: int) -> list[JobRecord]:
        """Take up to `limit` due jobs."""
        now = self._now()
        return list(self._store.write(lambda tx: tx.jobs.lease(now, now + LEASE_S, limit)))

    def carry_out(self, job: JobRecord) -> None:
        """Ask the source once; end the job, or put it off."""
        key = SubjectKey.parse(job.subject)
        record = self._store.read(lambda tx: tx.subjects.get(key))
        reader = self._sources.reader(key.source)
        if record is None or reader is None or (job.kind == "poll" and record.build().is_finished):
            self._end(job, "needless")
            return
        try:
            event = reader.fetch(key, with_log=job.kind == "enrich")
        except IntegrationError as problem:
            self._after_failure(job, problem)
            return
        self._ingest.accept([event])
        if job.kind == "enrich" or event.phase > record.folded.phase:
            self._end(job, "done")
        else:
            self._again(job, _pace_s(self._now() - job.created_at), tries=0, outcome="polled")

    def put_off(self, job: JobRecord) -> None:
        """Count a try that ended in a mistake of ours; the last one ends the job."""
        if job.tries + 1 >= MOST_TRIES:
            log.error("job given up", job=job.key, reason="unexpected")
            self._end(job, "failed:unexpected")
        else:
            self._again(job, pause_s(job.tries + 1), tries=job.tries + 1, outcome="retry:unexpected")

    def _after_failure(self, job: JobRecord, problem: IntegrationError) -> None:
        age = self._now() - job.created_at
        is_hopeless = not problem.recoverable or (job.kind == "enrich" and job.tries + 1 >= MOST_TRIES)
        if is_hopeless or age > GIVE_UP_S:
            log.warning("job given up", job=job.key, error=problem)
            self._end(job, f"failed:{problem.reason}")
            return
        pause = max(pause_s(job.tries + 1), problem.retry_after_s or 0.0)
        self._again(job, pause, tries=job.tries + 1, outcome=f"retry:{problem.reason}")

    def _end(self, job: JobRecord, outcome: str) -> None:
        self._store.write(lambda tx: tx.jobs.settle(job, due_at=None))
        JOBS.labels(job.kind, outcome).inc()

    def _again(self, job: JobRecord, pause: float, *, tries: int, outcome: str) -> None:
        due_at = self._now() + pause
        self._store.write(lambda tx: tx.jobs.settle(job, due_at=due_at, tries=tries))
        JOBS.labels(job.kind, outcome).inc()

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _pace_s(age: float) -> float:
    """Seconds to the next look at a running build: often at first, seldom when it takes long."""
    return next((pause for until, pause in PACES if age < until), SLOWEST_S)
