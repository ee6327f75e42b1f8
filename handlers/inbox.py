"""What the doors of the chat platforms have in common: what was heard, and where it is stored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from bot.domain.commands import Actor, ReplyTo
from bot.errors import PayloadInvalid

# A half of a pair of UTF-16, such as JSON can write, and NUL: no database stores them.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Heard:
    """What a platform told, in our words: the arguments of the inbox. PayloadInvalid where they cannot be stored."""

    typed: str
    dedup_key: str
    actor: Actor
    reply_to: ReplyTo
    via: str

    def __post_init__(self) -> None:
        actor, to = self.actor, self.reply_to
        texts = (self.typed, self.dedup_key, actor.account, actor.name, actor.team, to.place, to.thread, to.url)
        if any(_UNSTORABLE.search(text) for text in texts if text):
            raise PayloadInvalid("a text in it is not valid Unicode")


def storable(words: str) -> str:
    """`words` for people, with what no database stores replaced by the sign for it; ids are refused instead."""
    return _UNSTORABLE.sub("\ufffd", words)


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
