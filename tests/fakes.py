"""Hand-written stand-ins for ports, kept honest by the contract suites."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from bot.domain.budgets import Budget, Window
from bot.domain.cards import Card, Content, Notice
from bot.domain.commands import Actor, ReplyTo
from bot.domain.places import Capabilities, Operation, Place, Rendered
from bot.errors import DestinationGone, OutcomeUnknown, Unavailable
from bot.ports import Calls, PersonFacts, nothing_more

HANGS_UP_S = 8.0  # who waits for an answer
EPOCH = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


@dataclass(slots=True)
class FakeClock:
    """Time that stands until a test moves it."""

    at: datetime = EPOCH

    def now(self) -> datetime:
        """See `Clock`."""
        return self.at

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)


@dataclass(slots=True)
class FakeIds:
    """Identifiers in order."""

    count: int = 0

    def new(self) -> str:
        """See `Ids`."""
        self.count += 1
        return f"{self.count:026}"


@dataclass(slots=True)
class Call:
    """One call of a FakeMessenger that was carried out."""

    at: datetime
    operation: Operation
    place: str
    ref: str
    content: Content
    parent: str | None = None

    @property
    def title(self) -> str:
        """What a reader sees first."""
        content = self.content
        return content.title if isinstance(content, Card) else _plain(content)


def _plain(notice: Notice) -> str:
    return "".join(getattr(part, "text", getattr(part, "name", "")) for part in notice.body)


@dataclass(slots=True)
class FakeMessenger:
    """A chat platform in memory. `fails` holds errors, and what to do before them, for the next calls to a place.

    A failure `(error, is_done)` with `is_done` carries the call out and raises all the same: the answer was lost.
    While it `is_away` nobody answers; to find a post takes so many `pages`, each `page_s`. With `held_s` it is slow:
    posts are made so many seconds later, and nobody waits for their answers; with `holds_changes`, so are changes.
    """

    clock: FakeClock
    platform: str = "slack"
    can_edit: bool = True
    can_thread: bool = True
    can_find: bool = True
    can_upload: bool = False
    is_idempotent: bool = False
    refuses_edits: bool = False
    place_interval_s: float = 1.0
    account: Mapping[Operation, Sequence[Window]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    posts: dict[tuple[str, str], Call] = field(default_factory=dict)
    attempts: dict[str, str] = field(default_factory=dict)
    fails: dict[str, list[tuple[Exception, bool]]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    moved: dict[str, str] = field(default_factory=dict)
    is_away: bool = False
    asked_at: list[datetime] = field(default_factory=list)
    pages: int = 1
    page_s: float = 0.0
    held_s: float = 0.0
    holds_changes: bool = False
    held: list[tuple[datetime, Callable[[datetime], object]]] = field(default_factory=list)
    before_send: Callable[[], None] = lambda: None
    renders: Callable[[Content], None] = lambda _content: None

    @property
    def asked(self) -> int:
        """How many questions for a post came, by their pages."""
        return len(self.asked_at)

    def fail(self, place: str, *errors: Exception, is_done: bool = False) -> None:
        """Let the next calls to a place fail."""
        self.fails.setdefault(place, []).extend((error, is_done) for error in errors)

    def delete(self, place: str, ref: str) -> None:
        """What a person does with a post they do not like."""
        del self.posts[place, ref]

    def titles(self, place: str) -> list[str]:
        """What was shown at a place, call by call."""
        return [call.title for call in self.calls if call.place == place]

    def standing(self, place: str) -> list[str]:
        """What stands at a place now."""
        self._catch_up()
        return [call.title for (at, _), call in self.posts.items() if at == place]

    def resolve(self, address: str) -> Place:
        """See `Messenger`: `slack:#ci` is `slack:T/ci`."""
        if address in self.unknown:
            raise DestinationGone(self.platform, "channel_not_found")
        name = address.partition(":")[2]
        return Place(self.moved.get(address, f"{self.platform}:T/{name.lstrip('#')}"), name)

    def capabilities(self, place: Place) -> Capabilities:
        """See `Messenger`."""
        budget = Budget(place.key, self.place_interval_s)
        return Capabilities(
            self.can_edit, self.can_thread, self.can_find, budget, self.account, self.can_upload, self.is_idempotent
        )

    def render(self, content: Content, place: Place) -> Rendered:
        """See `Messenger`."""
        self.renders(content)
        said = json.dumps(asdict(content), default=str, sort_keys=True)
        return Rendered({"content": content}, hashlib.sha256(said.encode()).hexdigest())

    def send(
        self, place: Place, rendered: Rendered, *, attempt_id: str, ref: str | None = None, parent: str | None = None
    ) -> str:
        """See `Messenger`."""
        self.before_send()
        self._catch_up()
        if self.is_away:
            raise OutcomeUnknown(self.platform, "no_answer") if ref is None else Unavailable(self.platform, "no_answer")
        scripted = self.fails.get(place.key)
        error, is_done = scripted.pop(0) if scripted else (None, True)
        if error is not None and not is_done:
            raise error
        if place.key in self.gone:
            raise DestinationGone(self.platform, "channel_not_found")
        if ref is not None and (place.key, ref) not in self.posts:
            raise DestinationGone(self.platform, "message_not_found")
        if ref is not None and self.refuses_edits:
            raise DestinationGone(self.platform, "cannot_edit")
        make = partial(self._make, place, rendered.payload["content"], attempt_id, ref, parent)
        if self.held_s and (ref is None or self.holds_changes):
            self.held.append((self.clock.at + timedelta(seconds=self.held_s), make))
            self.clock.advance(HANGS_UP_S)
            raise OutcomeUnknown(self.platform, "timeout")
        made = make(self.clock.at)
        if error is not None:
            raise error
        return made

    def _make(
        self, place: Place, content: Content, attempt_id: str, ref: str | None, parent: str | None, at: datetime
    ) -> str:
        operation = Operation.UPDATE if ref is not None else Operation.POST
        if operation is Operation.POST and self.is_idempotent and attempt_id in self.attempts:
            return self.attempts[attempt_id]
        ref = ref or f"m{len(self.calls) + 1}"
        call = Call(at, operation, place.key, ref, content, parent)
        self.calls.append(call)
        self.posts[place.key, ref] = call
        if operation is Operation.POST:
            self.attempts[attempt_id] = ref
        return ref

    def _catch_up(self) -> None:
        """Carry out what was held for long enough."""
        now = self.clock.at
        due, self.held = [one for one in self.held if one[0] <= now], [one for one in self.held if one[0] > now]
        for at, make in sorted(due, key=lambda one: one[0]):
            make(at)

    def find(
        self,
        place: Place,
        *,
        attempt_id: str,
        since: datetime,
        parent: str | None = None,
        more: Callable[[], None] = nothing_more,
    ) -> str | None:
        """See `Messenger`."""
        for page in range(self.pages):
            if page:
                more()
            self.asked_at.append(self.clock.at)
            self.clock.advance(self.page_s)
        self._catch_up()
        if self.is_away:
            raise Unavailable(self.platform, "no_answer")
        post = self.posts.get((place.key, self.attempts.get(attempt_id, "")))
        return post.ref if post is not None and post.parent == parent else None


@dataclass(slots=True)
class FakeResponder:
    """Keeps what was answered to whom."""

    answers: list[tuple[ReplyTo, Content, Actor]] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)
    cannot_whisper: bool = False
    whispers: int = 0
    calls: Calls | None = None

    def spending(self, calls: Calls) -> FakeResponder:
        """See `Responder`."""
        self.calls = calls
        return self

    def respond(self, reply_to: ReplyTo, content: Content, actor: Actor) -> None:
        """See `Responder`."""
        with nullcontext() if self.calls is None else self.calls.made(Place(reply_to.place, ""), Operation.POST):
            self._respond(reply_to, content, actor)

    def _respond(self, reply_to: ReplyTo, content: Content, actor: Actor) -> None:
        if self.fails:
            raise self.fails.pop(0)
        self.answers.append((reply_to, content, actor))

    def whisper(self, reply_to: ReplyTo, content: Content, actor: Actor) -> None:
        """See `Responder`."""
        if self.cannot_whisper:
            raise DestinationGone(reply_to.platform, "not_configured")
        self.respond(reply_to, content, actor)
        self.whispers += 1

    @property
    def said(self) -> list[str]:
        """The answers' first words, in order."""
        return [_plain(content) if isinstance(content, Notice) else content.title for _, content, _ in self.answers]


@dataclass(slots=True)
class FakeDirectory:
    """Knows some people; `fails` holds errors for the next look-ups."""

    people: dict[str, PersonFacts] = field(default_factory=dict)
    fails: list[Exception] = field(default_factory=list)
    looks: int = 0

    def look_up(self, account_id: str) -> PersonFacts:
        """See `Directory`."""
        self.looks += 1
        if self.fails:
            raise self.fails.pop(0)
        return self.people.get(account_id) or PersonFacts(account_id, None, False)
