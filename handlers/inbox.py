"""What the doors of the chat platforms have in common: what was heard, and where it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bot.domain.commands import Actor, ReplyTo


@dataclass(frozen=True, slots=True)
class Heard:
    """What a platform told, in our words: the arguments of the inbox."""

    typed: str
    dedup_key: str
    actor: Actor
    reply_to: ReplyTo
    via: str


class Inbox(Protocol):
    """Where commands are stored before they are acknowledged."""

    def accept(self, *, typed: str, dedup_key: str, actor: Actor, reply_to: ReplyTo, via: str) -> bool:
        """Store a command; False for one that was stored before. StorageUnavailable when it could not be."""
        ...


def accept(inbox: Inbox, heard: Heard) -> bool:
    """Store what was heard; False when it is known already, StorageUnavailable when it cannot be stored."""
    return inbox.accept(
        typed=heard.typed, dedup_key=heard.dedup_key, actor=heard.actor, reply_to=heard.reply_to, via=heard.via
    )
