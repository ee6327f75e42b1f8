"""Lets go of what is old, in small steps with pauses, so that neither webhooks nor deliveries wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from bot.ports import Clock, Store, Transaction
from bot.ports.retention import START, Cursor, SubjectAge, Swept
from bot.telemetry import PRUNED, logger

# What is old lies scattered: each row costs a page or two of every index. A step is as long as a webhook's own write.
BATCH = 50
SUBJECT_BATCH = 10  # each with a handful of cards
PAUSE_S = 0.1
# Of the time. Fewer webhooks than one in a hundred meet a step then, and are the slower for it.
SHARE = 0.005
LONGEST_REST_S = 1.0  # with it a day has room for what a day of a million events leaves behind
BUDGETS_S = 86_400.0  # longer than any pause and any window
NOTICES_S = 2 * 86_400.0  # longer than a cause is told of once

log = logger(__name__)
# What trackers tell is an event too, but for its table, and a notice to the admin hangs on no subject.
_LIMITS = {"tracker_tasks": "events", "notices": "dead"}
Sweep = Callable[[Transaction, Cursor], Swept]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each kind of thing is kept, in seconds; None keeps it for ever."""

    events: float | None
    attempts: float | None
    subjects: float | None
    last_runs: float | None
    dead: float | None
    commands: float | None


def rest_s(took_s: float, least_s: float) -> float:
    """How long to rest after a step that took so long; a busy database makes steps, and with them rests, longer."""
    return min(max(least_s, took_s / SHARE), LONGEST_REST_S)


class Pruner:
    """Drops what is older than its limit. Ends between two steps when it is stopped."""

    def __init__(self, store: Store, clock: Clock, limits: Limits, *, pause_s: float = PAUSE_S) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._pause_s = pause_s
        self._is_over = threading.Event()

    def start(self) -> None:
        """Nothing: the clock calls `prune`."""

    def stop(self) -> None:
        """Take no further step."""
        self._is_over.set()

    def prune(self) -> dict[str, int]:
        """Sweep everything once; how many of each kind were dropped."""
        dropped = {}
        for kind, sweep in self._sweeps().items():
            if (count := self._sweep(sweep)) > 0:
                PRUNED.labels(kind).inc(count)
                dropped[kind] = count
        if dropped:
            log.info("pruned", **dropped)
        return dropped

    def _sweeps(self) -> dict[str, Sweep]:
        """Subjects first: their cards hold attempts, and they hold commands themselves."""
        limits = self._limits
        events, attempts, commands = map(self._before, (limits.events, limits.attempts, limits.commands))
        age = SubjectAge(*map(self._before, (limits.subjects, limits.last_runs, limits.dead)))
        # A notice says for a day that its cause was told of.
        notices = min(self._before(limits.dead), self._before(NOTICES_S))
        found: dict[str, Sweep] = {
            "subjects": lambda tx, after: tx.retention.subjects(age, after, SUBJECT_BATCH),
            "events": lambda tx, after: tx.retention.events(events, after, BATCH),
            "attempts": lambda tx, after: tx.retention.attempts(attempts, after, BATCH),
            "commands": lambda tx, after: tx.retention.commands(commands, after, BATCH),
            "tracker_tasks": lambda tx, after: tx.retention.tracker_tasks(events, after, BATCH),
            "notices": lambda tx, after: tx.retention.notices(notices, after, BATCH),
        }
        found = {kind: sweep for kind, sweep in found.items() if getattr(limits, _LIMITS.get(kind, kind)) is not None}
        unused = self._before(BUDGETS_S)
        return {**found, "budgets": lambda tx, after: tx.retention.budgets(unused, after, BATCH)}

    def _before(self, limit_s: float | None) -> float:
        """The time before which things are old; nothing is older than 0."""
        return 0.0 if limit_s is None else self._clock.now().timestamp() - limit_s

    def _sweep(self, sweep: Sweep) -> int:
        dropped, after = 0, START
        while not self._is_over.is_set():
            begun = monotonic()
            swept = self._store.write(lambda tx, after=after: sweep(tx, after))  # type: ignore[misc]  # bound now
            dropped += swept.dropped
            if swept.after is None:
                break
            after = swept.after
            if self._pause_s:
                self._is_over.wait(rest_s(monotonic() - begun, self._pause_s))
        return dropped
