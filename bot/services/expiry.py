"""Builds whose end nobody will tell: they end as what is known of them, and whatever is heard later outranks that."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from bot.domain.builds import BuildFacts, BuildStatus, Phase
from bot.domain.events import Event, EventKind
from bot.ports import Clock, Store, SubjectRecord
from bot.services.ingest import Ingest, Outcome
from bot.telemetry import logger

SILENT_S = 7 * 86400.0
BATCH = 100

log = logger(__name__)


class Expiry:
    """Ends builds of sources that cannot be asked, and that have said nothing for a week."""

    def __init__(self, store: Store, clock: Clock, ingest: Ingest) -> None:
        self._store = store
        self._clock = clock
        self._ingest = ingest

    def end_silent(self) -> int:
        """End the builds that were silent for longest; how many, at most a hundred at a time."""
        now = self._clock.now().timestamp()
        found = self._store.read(lambda tx: tx.subjects.silent(now - SILENT_S, BATCH))
        return sum(self._end(record, now) for record in found)

    def _end(self, record: SubjectRecord, now: float) -> bool:
        """End a build; False where something was heard of it that was nothing new."""
        newest = self._store.read(lambda tx: tx.events.of_subject(str(record.key), 1))
        if newest and (heard_at := newest[0][2]) > now - SILENT_S:
            self._store.write(lambda tx: tx.subjects.heard(record.key, heard_at))
            return False
        ended = self._ingest.accept([lost(record, silent_days=int(SILENT_S // 86400))]) == [Outcome.ACCEPTED]
        if ended:
            log.warning("build ended for its silence", build=str(record.key))
        return ended


def lost(record: SubjectRecord, *, silent_days: int | None = None) -> Event:
    """The end of a build of which nothing will be heard; whatever is heard of its end all the same outranks this."""
    folded = record.folded
    name = f"{record.key}:{folded.generation}.{folded.attempt}"
    return Event(
        source=record.key.source,
        delivery_key=f"lost:{hashlib.sha256(name.encode()).hexdigest()[:32]}",
        kind=EventKind.BUILD_FINISHED,
        subject=record.key,
        occurred_at=datetime.fromtimestamp(folded.ordered_at, UTC),
        phase=Phase.FINISHED,
        facts=BuildFacts(status=BuildStatus.UNKNOWN, silent_days=silent_days),
        generation=folded.generation,
        attempt=folded.attempt,
    )
