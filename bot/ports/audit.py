"""The audit trail as services write it."""

from __future__ import annotations

from typing import Protocol

from bot.domain.audit import AuditEntry


class AuditTrail(Protocol):
    """The append-only trail."""

    def append(self, entry: AuditEntry) -> None:
        """Add an entry; it is sealed into the chain later."""
        ...

    def seal(self, limit: int) -> int:
        """Chain the oldest unsealed entries; returns how many."""
        ...
