"""Work that makes events: asking a source for what its webhooks lack, and how a running build gets on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.domain.retries import pause_s
from bot.domain.subjects import SubjectKey
from bot.errors import DestinationGone, IntegrationError
from bot.ports import Clock, JobRecord, Store, SubjectRecord, Transaction
from bot.services import reconciling
from bot.services.dead_letters import DeadLetters, Work
from bot.services.expiry import lost
from bot.services.hands import Shares
from bot.services.ingest import Ingest
from bot.services.reconciling import Reconciling
from bot.services.settling import Settling, held_for
from bot.services.sources import Sources
from bot.telemetry import JOBS, logger

LEASE_S = 30.0
MOST_TRIES = 8
PACES = ((60.0, 3.0), (300.0, 10.0), (3600.0, 60.0))
SLOWEST_S = 600.0
GIVE_UP_S = 7 * 86400.0
GONE_PAUSES_S = (10.0, 60.0, 600.0, 600.0)  # said once more after these, "there is no such build" is believed
GONE = "no_such_build"
KINDS = frozenset({"enrich", "poll"})
LEFT_PAUSE_S = 300.0
MOST_LEFT = 288

log = logger(__name__)


class JobWorker:
    """Carries out `enrich`, `poll` and `reconcile`; what they find is stored as an event and folds like any other."""

    lease_s = LEASE_S

    def __init__(
        self, store: Store, clock: Clock, sources: Sources, ingest: Ingest, letters: DeadLetters | None = None
    ) -> None:
        self._settling = Settling.of(store)
        self._letters = letters or DeadLetters()
        self._store = store
        self._clock = clock
        self._sources = sources
        self._ingest = ingest
        self._reconciling = Reconciling(store, clock, sources, ingest)

    def claim(self, limit: int, shares: Shares | None = None) -> list[JobRecord]:
        """Take up to `limit` due jobs; those of one source leave hands to those of others."""
        held_until, now = held_for(LEASE_S), self._now()

        def work(tx: Transaction) -> Sequence[JobRecord]:
            return tx.jobs.lease(now, now + LEASE_S, limit, shares.taker() if shares else None)

        return [replace(job, held_until=held_until) for job in self._store.write(work, is_patient=False)]

    def kin_of(self, work: JobRecord) -> str:
        """The source that is asked: it hangs as a whole."""
        return work.source

    def carry_out(self, job: JobRecord) -> None:
        """Ask the source once; end the job, or put it off."""
        if job.kind == reconciling.KIND:
            self._reconciling.step(job)
            return
        if job.kind not in KINDS:
            self._leave(job)
            return
        try:
            key = SubjectKey.parse(job.subject)
        except ValueError as problem:
            log.error("job cannot be read, dropped", job=job.key, error=problem)
            self._end(job, "failed:unreadable")
            return
        record = self._store.read(lambda tx: tx.subjects.get(key))
        reader = self._sources.reader(key.source)
        if record is None or reader is None or (job.kind == "poll" and record.build().is_finished):
            self._end(job, "needless")
            return
        try:
            event = reader.fetch(key, with_log=job.kind == "enrich")
        except IntegrationError as problem:
            self._after_failure(job, record, problem)
            return
        self._settling.insist(job, lambda: self._ingest.accept([event]))
        if job.kind == "enrich" or event.phase > record.folded.phase:
            self._end(job, "done")
        else:
            self._again(job, _pace_s(self._age_s(job)), tries=0, outcome="polled")

    def _leave(self, job: JobRecord) -> None:
        """Leave what this version does not know to a newer one, for a day."""
        if job.tries >= MOST_LEFT:
            log.error("job of unknown kind dropped", job=job.key, kind=job.kind)
            self._end(job, "failed:unknown_kind")
        else:
            self._again(job, LEFT_PAUSE_S, tries=job.tries + 1, outcome="left:unknown_kind")

    def put_off(self, job: JobRecord) -> None:
        """Count a try that ended in a mistake of ours; too many end the job, of a running build only after a week."""
        if job.kind == reconciling.KIND:
            self._reconciling.put_off(job)
            return
        tries = max(job.tries, 0) + 1
        if self._age_s(job) > GIVE_UP_S if job.kind == "poll" else tries >= MOST_TRIES:
            log.error("job given up", job=job.key, reason="unexpected")
            self._announce(job, "unexpected")
            self._end(job, "failed:unexpected")
        else:
            self._again(job, pause_s(tries), tries=tries, outcome="retry:unexpected")

    def _after_failure(self, job: JobRecord, record: SubjectRecord, problem: IntegrationError) -> None:
        """Try again later; a build that runs is looked at until its source answers, that its card may end."""
        if job.kind == "poll" and isinstance(problem, DestinationGone) and problem.reason == GONE:
            self._doubt(job, record, problem)
            return
        tries = max(job.tries, 0) + 1
        is_over = (not problem.recoverable or tries >= MOST_TRIES) if job.kind == "enrich" else False
        if is_over or self._age_s(job) > GIVE_UP_S:
            self._give_up(job, record, problem)
            return
        pause = max(pause_s(tries), problem.retry_after_s or 0.0)
        self._again(job, pause, tries=tries, outcome=f"retry:{problem.reason}")

    def _doubt(self, job: JobRecord, record: SubjectRecord, problem: IntegrationError) -> None:
        """The source knows no such build: said several times in a row (counted below zero), it is believed."""
        said = max(-job.tries, 0)
        if said < len(GONE_PAUSES_S):
            self._again(job, GONE_PAUSES_S[said], tries=-said - 1, outcome=f"retry:{problem.reason}")
        else:
            self._give_up(job, record, problem)

    def _give_up(self, job: JobRecord, record: SubjectRecord, problem: IntegrationError) -> None:
        log.warning("job given up", job=job.key, error=problem)
        if not isinstance(problem, DestinationGone):  # a build, or its log, that is not there is nobody's fault
            self._announce(job, problem.reason)
        if job.kind == "poll":
            is_silent = self._age_s(job) > GIVE_UP_S
            end = lost(record, silent_days=int(GIVE_UP_S // 86400) if is_silent else None)
            self._settling.insist(job, lambda: self._ingest.accept([end]))
        self._end(job, f"failed:{problem.reason}")

    def _announce(self, job: JobRecord, reason: str) -> None:
        key, now = SubjectKey.parse(job.subject), self._now()
        self._settling.settle(
            job, lambda tx: self._letters.announce_work(tx, Work.JOB, key.source, key.short, reason, now)
        )

    def _end(self, job: JobRecord, outcome: str) -> None:
        self._settling.settle(job, lambda tx: tx.jobs.settle(job, due_at=None))
        JOBS.labels(job.kind, outcome).inc()

    def _again(self, job: JobRecord, pause: float, *, tries: int, outcome: str) -> None:
        due_at = self._now() + pause
        self._settling.settle(job, lambda tx: tx.jobs.settle(job, due_at=due_at, tries=tries))
        JOBS.labels(job.kind, outcome).inc()

    def _age_s(self, job: JobRecord) -> float:
        return self._now() - job.created_at

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _pace_s(age: float) -> float:
    """Seconds to the next look at a running build: often at first, seldom when it takes long."""
    return next((pause for until, pause in PACES if age < until), SLOWEST_S)
