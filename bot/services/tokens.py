"""Tokens that rotate, kept in the database for all processes."""

from __future__ import annotations

from bot.ports import Clock, Store
from bot.ports.trackers import StoredToken


class StoredTokens:
    """A `TokenStore` over the database; StorageUnavailable when that is away."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def read(self, name: str) -> StoredToken | None:
        """See `TokenStore`."""
        return self._store.read(lambda tx: tx.tokens.read(name))

    def hold(self, name: str, *, seconds: float) -> StoredToken | None:
        """See `TokenStore`."""
        now = self._clock.now().timestamp()
        return self._store.write(lambda tx: tx.tokens.hold(name, now, now + seconds))

    def replace(self, name: str, held: StoredToken, value: str, expires_at: float) -> bool:
        """See `TokenStore`."""
        return self._store.write(lambda tx: tx.tokens.replace(name, held, value, expires_at))
