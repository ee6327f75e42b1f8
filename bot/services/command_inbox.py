"""Where commands come in: stored at the door, carried out later by a worker."""

from __future__ import annotations

from bot.domain.commands import Actor, Command, ReplyTo
from bot.ports import Clock, Ids, Store
from bot.services.signal import Signal


class CommandInbox:
    """Takes what people ask for; nothing is judged here, so that the door can acknowledge at once."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, signal: Signal) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._signal = signal

    def accept(self, *, typed: str, dedup_key: str, actor: Actor, reply_to: ReplyTo, via: str) -> bool:
        """Store a request; False when this press or line is known already; StorageUnavailable when it cannot be."""
        now = self._clock.now().timestamp()
        command = Command(self._ids.new(), dedup_key[:200], actor, typed[:2000], reply_to, via, accepted_at=now)
        is_new = self._store.write(lambda tx: tx.commands.add(command))
        if is_new:
            self._signal.ring()
        return is_new
