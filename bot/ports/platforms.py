"""What services ask of a chat platform."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.domain.cards import Card, Content, Question
from bot.domain.commands import Actor, ReplyTo
from bot.domain.places import Capabilities, Operation, Place, Rendered


def nothing_more() -> None:
    """Let further calls be made, however many."""


class Messenger(Protocol):
    """Shows content at the places of one chat platform. Calls try once, within 8 s, and raise IntegrationError."""

    def resolve(self, address: str) -> Place:
        """The place an address of the configuration names; DestinationGone when there is none."""
        ...

    def capabilities(self, place: Place) -> Capabilities:
        """What can be done at the place; no I/O. Of an address that is not resolved yet only its budgets count."""
        ...

    def render(self, content: Content, place: Place) -> Rendered:
        """The platform's payload, within its limits; pure."""
        ...

    def send(
        self, place: Place, rendered: Rendered, *, attempt_id: str, ref: str | None = None, parent: str | None = None
    ) -> str:
        """Post (or, with `ref`, change in place) and return the reference to change it by; `parent` is a thread's card.

        `attempt_id` is left in the platform's record of a new post, so that `find` can see it. Raises OutcomeUnknown
        when no answer came, and DestinationGone: `channel_not_found` or `is_archived` when the place is gone,
        `message_not_found` when `ref` was deleted, `cannot_edit` when it stands but may not be changed.
        """
        ...

    def find(
        self,
        place: Place,
        *,
        attempt_id: str,
        since: datetime,
        parent: str | None = None,
        more: Callable[[], None] = nothing_more,
    ) -> str | None:
        """The reference of the post that `attempt_id` made, in the thread of `parent`; None when it made none.

        `more` is called before each call after the first, and raises RateLimited where none may be made now.
        """
        ...


class Calls(Protocol):
    """The budgets that answers share with cards."""

    def made(self, place: Place, operation: Operation) -> AbstractContextManager[None]:
        """Count a call while it is made, or raise RateLimited with the reason `budget` where it has to wait.

        What the platform says of its limits meanwhile holds for all calls.
        """
        ...


class Responder(Protocol):
    """Answers a person where they asked, privately where the platform can."""

    def spending(self, calls: Calls) -> Responder:
        """The same one, which takes what it calls out of budgets."""
        ...

    def respond(self, reply_to: ReplyTo, content: Content, actor: Actor) -> None:
        """Show the answer; raises IntegrationError."""
        ...

    def whisper(self, reply_to: ReplyTo, content: Content, actor: Actor) -> None:
        """Show what nobody but the actor may read; raises IntegrationError, DestinationGone where there is no way."""
        ...


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """What a platform says of an account; `name` is empty where it says none."""

    name: str
    email: str | None
    is_outsider: bool
    locale: str | None = None
    timezone: str | None = None


class Directory(Protocol):
    """Knows the people of a platform."""

    def look_up(self, account_id: str) -> PersonFacts:
        """Facts of an account, by the platform's id; raises IntegrationError."""
        ...


class Modals(Protocol):
    """Dialog windows, where a platform has them."""

    def open(self, trigger: str, card: Card) -> str:
        """Open a window with the trigger of a press and return its id; DestinationGone when the trigger expired."""
        ...

    def update(self, view_id: str, card: Card) -> None:
        """Replace the content of an open window."""
        ...

    def ask(self, trigger: str, question: Question, reply_to: ReplyTo) -> None:
        """Open a window that asks for words; what is sent in it comes back as a command, to be answered there."""
        ...
