"""Which places the configured addresses are: looked up when something is wanted there, and again when one is gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bot.domain.places import Place
from bot.errors import DestinationGone, IntegrationError, Rejected
from bot.ports import DestinationLease, Messenger, Store, Transaction
from bot.services.dead_letters import DeadLetters
from bot.services.planning import REST_S, Delivery, Resolution
from bot.telemetry import logger

PASSING_REST_S = 5.0  # after what may be over in a moment

log = logger(__name__)


class Resolver:
    """Looks up addresses, with the platforms' messengers; an address that leads nowhere is told to the admin."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], float],
        messengers: Mapping[str, Messenger],
        addresses: frozenset[str],
        dead_letters: DeadLetters,
    ) -> None:
        self._store = store
        self._now = now
        self._messengers = messengers
        self._addresses = addresses
        self._dead_letters = dead_letters

    def resolve(self, work: Resolution) -> None:
        """Find the place of an address, or let it rest and be looked for again."""
        address = work.lease.key
        try:
            place = self._messengers[address.partition(":")[0]].resolve(address)
        except IntegrationError as problem:
            log.warning("destination cannot be resolved", destination=address, error=problem)
            rest_s = max(PASSING_REST_S if problem.recoverable else REST_S, problem.retry_after_s or 0.0)
            self.rest(work.lease, rest_s, problem.reason, is_lasting=not problem.recoverable)
            return
        self._store.write(lambda tx: tx.places.adopt(address, place))

    def rest(self, lease: DestinationLease, seconds: float, reason: str, *, is_lasting: bool = False) -> None:
        """Let an address rest; what will not pass by itself (`is_lasting`) is told to the admin."""
        now = self._now()

        def work(tx: Transaction) -> None:
            is_held = tx.pacing.release(lease, arrival=0.0, free_at=now + seconds, reason=f"unresolved:{reason}")
            if is_held and is_lasting:
                self._dead_letters.announce_unresolved(tx, lease.key, reason, now)

        self._store.write(work)

    def find_anew(self, delivery: Delivery) -> Mapping[str, Place]:
        """Where the addresses of a place that is gone lead now: a channel was made again, a token is another team's."""
        gone, messenger = delivery.place, self._messengers[delivery.place.platform]
        found = {}
        for address in self._store.read(lambda tx: tx.places.addresses_of(gone.key)):
            if address not in self._addresses:
                continue
            try:
                place = messenger.resolve(address)
            except (DestinationGone, Rejected):
                continue
            if place.key != gone.key:
                log.warning("destination has moved", destination=address, place=place.key)
                found[address] = place
        return found
