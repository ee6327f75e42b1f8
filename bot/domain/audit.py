"""The append-only trail: who, what, on what, with which outcome."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One decision or change; `at` is seconds since 1970 (UTC), `detail` holds no secret."""

    at: float
    actor: str
    verb: str
    target: str
    outcome: str
    detail: str = ""
    command_id: str = ""


def seal(entry: AuditEntry, seq: int, previous_hash: str) -> str:
    """The entry's link in the chain: SHA-256 over its number, its content and the hash before it, in hex."""
    content = json.dumps([seq, previous_hash, asdict(entry)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()
