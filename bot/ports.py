"""What services ask of the outside; integrations and storage implement these Protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.domain.builds import Build
from bot.domain.cards import Card, Content
from bot.domain.commands import Actor, ReplyTo
from bot.domain.events import Event
from bot.domain.places import Capabilities, Place, Rendered
from bot.domain.subjects import SubjectKey


class Clock(Protocol):
    """The one source of time."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        ...


class Ids(Protocol):
    """The one source of identifiers."""

    def new(self) -> str:
        """A new identifier that sorts by time: 26 characters, letters and digits."""
        ...


# --- chat platforms -------------------------------------------------------------------------------------------------


class Messenger(Protocol):
    """Shows content at the places of one chat platform. Calls try once, within 8 s, and raise IntegrationError."""

    def resolve(self, address: str) -> Place:
        """The place an address of the configuration names; DestinationGone when there is none."""
        ...

    def capabilities(self, place: Place) -> Capabilities:
        """What can be done at the place; no I/O."""
        ...

    def render(self, content: Content, place: Place) -> Rendered:
        """The platform's payload, within its limits; pure."""
        ...

    def send(
        self, place: Place, rendered: Rendered, *, attempt_id: str, ref: str | None = None, parent: str | None = None
    ) -> str:
        """Post (or, with `ref`, change in place) and return the reference to change it by; `parent` is a thread's card.

        `attempt_id` is left in the platform's record of a new post, so that `find` can see it. Raises DestinationGone
        with reason `message_not_found` when `ref` was deleted, OutcomeUnknown when no answer came.
        """
        ...

    def find(self, place: Place, *, attempt_id: str, since: datetime) -> str | None:
        """The reference of the post that `attempt_id` made, or None when it certainly made none."""
        ...


class Responder(Protocol):
    """Answers a person where they asked, privately where the platform can."""

    def respond(self, reply_to: ReplyTo, content: Content, actor: Actor) -> None:
        """Show the answer; raises IntegrationError."""
        ...


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """What a platform says of an account."""

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


# --- sources --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """What a webhook meant. Without events, `reason` is `ignored:<what>` (known) or `unknown:<what>`."""

    events: tuple[Event, ...]
    reason: str = ""


class WebhookSource(Protocol):
    """Understands the webhooks of one configured source."""

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Received:
        """Authenticate, then parse; headers have lower-case names. Pure: raises SignatureInvalid, PayloadInvalid."""
        ...


class BuildReader(Protocol):
    """Reads builds from a CI system. Calls try once, within 8 s, and raise IntegrationError."""

    def fetch(self, key: SubjectKey, *, with_log: bool) -> Event:
        """Everything known now of a build: stages, and `with_log` failed tests and the log excerpt too.

        Raises DestinationGone when there is no such build.
        The event's kind is build_progressed or build_enriched, its delivery key differs whenever its facts do.
        """
        ...

    def list_builds(self, project: str, limit: int) -> Sequence[Build]:
        """The newest builds of a configured project, newest first."""
        ...

    def read_log(self, key: SubjectKey, *, max_lines: int) -> str:
        """The last lines of the log that matters most (the first failed stage's, else the last stage's)."""
        ...


@dataclass(frozen=True, slots=True)
class Triggered:
    """A run was asked for: `request` is the system's id of the request, `build` the run once it has a number."""

    request: str
    build: SubjectKey | None = None


class BuildControl(Protocol):
    """Acts on a CI system. Calls try once, within 8 s. OutcomeUnknown: ask `find_run` before anything else."""

    def retry(self, key: SubjectKey, *, correlation: str, asked_by: str) -> Triggered:
        """Run the build again with the same inputs; Conflict with a reason when it cannot be."""
        ...

    def run(self, project: str, parameters: Mapping[str, str], *, correlation: str, asked_by: str) -> Triggered:
        """Start a run of a configured project."""
        ...

    def cancel(self, key: SubjectKey, *, asked_by: str) -> bool:
        """Stop a running build; False when it had already ended."""
        ...

    def find_run(
        self, project: str, *, correlation: str, since: datetime, retried: SubjectKey | None
    ) -> Triggered | None:
        """The first run asked for after `since` that carries our correlation, or None when there certainly is none."""
        ...

    def follow(self, project: str, request: str) -> SubjectKey | None:
        """The build that a request became, or None while it waits; DestinationGone when it was dropped."""
        ...
