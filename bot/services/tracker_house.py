"""Everything about trackers, put together."""

from __future__ import annotations

from bot.ports import Clock, Store
from bot.services.dead_letters import DeadLetters
from bot.services.polling import Poller
from bot.services.reporting import Reporting
from bot.services.signal import Signal
from bot.services.telling import Teller, Tidings
from bot.services.trackers import Trackers
from bot.services.tracking import ChangeInbox, TrackerWorker, Triggers


class TrackerHouse:
    """The parts that hear trackers and tell them; `worker` does what they make to be done."""

    def __init__(
        self, trackers: Trackers, *, store: Store, clock: Clock, signal: Signal, reporting: Reporting | None = None
    ) -> None:
        self._reporting = reporting
        self._store = store
        self._clock = clock
        self._signal = signal
        self.trackers = trackers
        self.tidings = Tidings(trackers, clock, reporting)
        self.inbox = ChangeInbox(store, clock, trackers, signal)
        self.poller = Poller(store, clock, trackers, self.inbox)

    def worker(self, triggers: Triggers, letters: DeadLetters | None = None) -> TrackerWorker:
        """Who acts on what was heard, and tells what was written down; `letters` has the admin told of what fails."""
        teller = Teller(self._store, self._clock)
        return TrackerWorker(
            self._store,
            self._clock,
            self.trackers,
            triggers,
            teller,
            self._signal,
            reporting=self._reporting,
            letters=letters,
        )
