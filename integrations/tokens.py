"""A place for tokens before there is a database: integrations are built first."""

from __future__ import annotations

from bot.errors import Unavailable
from bot.ports.trackers import StoredToken, TokenStore

NO_DATABASE = "no_database"


class TokenShelf:
    """A `TokenStore` that is given its database later; until then whoever asks for a token is told to wait."""

    def __init__(self) -> None:
        self._store: TokenStore | None = None

    def bind(self, store: TokenStore) -> None:
        """From now on tokens are kept there."""
        self._store = store

    def read(self, name: str) -> StoredToken | None:
        """See `TokenStore`."""
        return self._bound(name).read(name)

    def hold(self, name: str, *, seconds: float) -> StoredToken | None:
        """See `TokenStore`."""
        return self._bound(name).hold(name, seconds=seconds)

    def replace(self, name: str, held: StoredToken, value: str, expires_at: float) -> bool:
        """See `TokenStore`."""
        return self._bound(name).replace(name, held, value, expires_at)

    def _bound(self, name: str) -> TokenStore:
        if self._store is None:
            words = "tokens that change with every use are kept in the database: there is none yet"
            raise Unavailable(name.partition(":")[0], NO_DATABASE, words)
        return self._store
