"""Which places the configured addresses are: looked up when something is wanted there, and again when one is gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bot.domain.places import Place
from bot.errors import DestinationGone, IntegrationError, RateLimited, Rejected
from bot.ports import Messenger, Store, Transaction
from bot.services import budgeting
from bot.services.dead_letters import DeadLetters
from bot.services.planning import REST_S, Delivery, Resolution
from bot.services.settling import Settling
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
        self._settling = Settling.of(store)
        self._store = store
        self._now = now
        self._messengers = messengers
        self._addresses = addresses
        self._dead_letters = dead_letters

    def resolve(self, work: Resolution) -> None:
        """Find the place of an address, or let it rest and be looked for again."""
        lease = work.lease
        address = lease.key
        try:
            place = self._messengers[address.partition(":")[0]].resolve(address)
        except IntegrationError as problem:
            log.warning("destination cannot be resolved", destination=address, error=problem)
            self._after_failure(work, problem)
            return
        now = self._now()

        def adopt(tx: Transaction) -> None:
            if tx.pacing.release(lease, arrival=0.0, free_at=None, reason=""):
                budgeting.settle(tx, work.calls, was_made=True, now=now)
            tx.places.adopt(address, place)

        self._settling.settle(lease, adopt)

    def _after_failure(self, work: Resolution, problem: IntegrationError) -> None:
        """What will not pass by itself is told to the admin."""
        now, lease, reason = self._now(), work.lease, problem.reason
        rest_s = max(PASSING_REST_S if problem.recoverable else REST_S, problem.retry_after_s or 0.0)
        is_limited = isinstance(problem, RateLimited) and problem.scope == "account"

        def settle(tx: Transaction) -> None:
            is_held = tx.pacing.release(lease, arrival=0.0, free_at=now + rest_s, reason=f"unresolved:{reason}")
            if is_held:
                budgeting.settle(tx, work.calls, was_made=True, now=now)
            for call in work.calls if is_limited else ():
                tx.pacing.pause(call.window.scope, now + rest_s)
            if is_held and not problem.recoverable:
                self._dead_letters.announce_unresolved(tx, lease.key, reason, now)

        self._settling.settle(lease, settle)

    def rest(self, work: Resolution) -> None:
        """Let an address rest after a mistake of ours."""
        free_at, reason = self._now() + REST_S, "unresolved:unexpected"
        self._settling.settle(
            work.lease, lambda tx: tx.pacing.release(work.lease, arrival=0.0, free_at=free_at, reason=reason)
        )

    def find_anew(self, delivery: Delivery) -> Mapping[str, Place]:
        """Where the addresses of a place that is gone lead now: a channel was made again, a token is another team's."""
        gone, messenger = delivery.place, self._messengers[delivery.place.platform]
        found = {}
        known = self._settling.insist(
            delivery.lease, lambda: self._store.read(lambda tx: tx.places.addresses_of(gone.key))
        )
        for address in known:
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
