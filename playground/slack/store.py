"""What a Slack workspace holds: people, places, posts, views, triggers and response URLs, all in memory and bounded."""

import hashlib
import secrets
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TypeVar

from playground import world
from playground.options import Json, Options
from playground.slack import text as reading

Kept = TypeVar("Kept")

_REPLIES_KEPT = 500
_FILES_KEPT = 100
_SHORT_LIVED_KEPT = 2_000


@dataclass(slots=True)
class Post:
    """One message; `visible_to` is set for ephemeral ones, `edits` counts the changes since it was posted."""

    ts: str
    place: "Place"
    author: world.Person
    text: str = ""
    blocks: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    metadata: Json | None = None
    thread_ts: str | None = None
    subtype: str | None = None
    visible_to: str | None = None
    edits: int = 0
    edited_ts: str | None = None
    is_marked_edited: bool = False
    reactions: dict[str, list[str]] = field(default_factory=dict)
    replies: list["Post"] = field(default_factory=list)
    files: list[Json] = field(default_factory=list)
    shown: Json | None = None

    def wire(self) -> Json:
        """The message as Slack's API and payloads write it, without metadata and thread figures."""
        message: Json = {"type": "message", "user": self.author.id, "text": self.text, "ts": self.ts}
        message["team"] = self.author.team or world.SLACK_TEAM
        if self.subtype:
            message["subtype"] = self.subtype
        if self.author.id == world.SLACK_BOT_USER:
            message |= {"bot_id": world.SLACK_BOT, "app_id": world.SLACK_APP}
        if self.blocks:
            message["blocks"] = self.blocks
        if self.attachments:
            message["attachments"] = self.attachments
        if self.files:
            message |= {"files": self.files, "upload": True}
        if self.thread_ts:
            message["thread_ts"] = self.thread_ts
        if self.is_marked_edited and self.edited_ts:
            message["edited"] = {"user": self.author.id, "ts": self.edited_ts}
        if self.reactions:
            message["reactions"] = [
                {"name": name, "users": users, "count": len(users)} for name, users in self.reactions.items()
            ]
        return message

    def all_blocks(self) -> list[Json]:
        """The blocks of the message and of its attachments, in reading order."""
        return self.blocks + [block for one in self.attachments for block in one.get("blocks") or []]

    def attachment_of(self, block: Json) -> int | None:
        """The number (from 1) of the attachment that holds this very block."""
        for number, one in enumerate(self.attachments, 1):
            if any(block is each for each in one.get("blocks") or []):
                return number
        return None


@dataclass(slots=True)
class Place:
    """A channel, or a direct conversation between the bot and `person`."""

    id: str
    name: str
    members: set[str]
    person: str | None = None
    is_archived: bool = False
    posts: OrderedDict[str, Post] = field(default_factory=OrderedDict)
    index: dict[str, Post] = field(default_factory=dict)

    @property
    def has_bot(self) -> bool:
        """Whether the bot is a member."""
        return world.SLACK_BOT_USER in self.members

    def add(self, post: Post, kept: int) -> None:
        """Put a post where it belongs: at the end, or into its thread."""
        self.index[post.ts] = post
        parent = self.index.get(post.thread_ts) if post.thread_ts else None
        if parent is not None and parent is not post:
            parent.replies.append(post)
            parent.thread_ts = parent.ts
            parent.shown = None
            if len(parent.replies) > _REPLIES_KEPT:
                self.index.pop(parent.replies.pop(0).ts, None)
            return
        self.posts[post.ts] = post
        while len(self.posts) > kept:
            _, gone = self.posts.popitem(last=False)
            for one in (gone, *gone.replies):
                self.index.pop(one.ts, None)


@dataclass(slots=True)
class File:
    """An upload: first a ticket, then bytes, then a file with a title that posts show."""

    id: str
    name: str
    length: int
    alt_text: str = ""
    content: bytes = b""
    is_shared: bool = False


@dataclass(slots=True)
class View:
    """A modal or Home tab as one person has it open."""

    id: str
    user: str
    payload: Json
    hash: str
    root_id: str
    previous_id: str | None = None
    values: Json = field(default_factory=dict)

    def wire(self) -> Json:
        """The view as Slack's API and payloads write it."""
        given = self.payload
        answer: Json = {
            "id": self.id,
            "team_id": world.SLACK_TEAM,
            "type": given.get("type", "modal"),
            "blocks": given.get("blocks", []),
            "private_metadata": given.get("private_metadata", ""),
            "callback_id": given.get("callback_id", ""),
            "state": {"values": self.values},
            "hash": self.hash,
            "title": given.get("title"),
            "clear_on_close": bool(given.get("clear_on_close")),
            "notify_on_close": bool(given.get("notify_on_close")),
            "close": given.get("close"),
            "submit": given.get("submit"),
            "previous_view_id": self.previous_id,
            "root_view_id": self.root_id,
            "app_id": world.SLACK_APP,
            "external_id": given.get("external_id", ""),
            "app_installed_team_id": world.SLACK_TEAM,
            "bot_id": world.SLACK_BOT,
        }
        return answer


@dataclass(slots=True)
class Trigger:
    """A short-lived right to open one modal for `user`."""

    id: str
    user: str
    expires: float
    is_used: bool = False
    opened: View | None = None


@dataclass(slots=True)
class ReplyUrl:
    """A response_url: where it writes to, what it may replace, and what is left of it."""

    place: Place
    user: str
    expires: float
    post: Post | None = None
    uses: int = 0


class SlackStore:
    """The workspace's contents; made anew by a reset."""

    def __init__(self, options: Options) -> None:
        self.people = {one.id: one for one in world.SLACK_PEOPLE}
        self.places: dict[str, Place] = {}
        self.ephemeral: deque[Post] = deque(maxlen=options.messages_kept)
        self.views: OrderedDict[str, View] = OrderedDict()
        self.stacks: dict[str, list[str]] = {}
        self.homes: dict[str, View] = {}
        self.triggers: OrderedDict[str, Trigger] = OrderedDict()
        self.reply_urls: OrderedDict[str, ReplyUrl] = OrderedDict()
        self.tickets: OrderedDict[str, File] = OrderedDict()
        self.files: OrderedDict[str, File] = OrderedDict()
        self._kept = options.messages_kept
        self._last_us = 0
        for channel in world.SLACK_CHANNELS:
            self.create(channel.name, channel.id, has_bot=channel.has_bot)
        for name in options.extra_channels:
            self.create(name)

    def create(self, name: str, place_id: str | None = None, *, has_bot: bool = True) -> Place:
        """Make a channel (or answer the one of that name); its id follows from its name."""
        name = "#" + name.lstrip("#")
        if found := self.place_named(name):
            return found
        place_id = place_id or "C" + hashlib.sha256(name.encode()).hexdigest()[:10].upper()
        members = {one.id for one in self.people.values() if one.id != world.SLACK_BOT_USER}
        if has_bot:
            members.add(world.SLACK_BOT_USER)
        place = self.places[place_id] = Place(place_id, name, members)
        return place

    def direct(self, person: world.Person) -> Place:
        """The direct conversation between the bot and this person."""
        place_id = "D" + person.id[1:]
        if place_id not in self.places:
            members = {person.id, world.SLACK_BOT_USER}
            self.places[place_id] = Place(place_id, "@" + person.handle, members, person=person.id)
        return self.places[place_id]

    def place_named(self, name: str) -> Place | None:
        """The place with this id or name (`#` may be left out)."""
        if name in self.places:
            return self.places[name]
        return next((one for one in self.places.values() if one.name in {name, "#" + name}), None)

    def person_named(self, given: str) -> world.Person | None:
        """The person with this id, handle or display name."""
        wanted = given.lstrip("@")
        if wanted in self.people:
            return self.people[wanted]
        return next((one for one in self.people.values() if wanted.lower() in {one.handle, one.name.lower()}), None)

    def name(self, given: str) -> str:
        """How an id reads: a person's display name, a channel's name, or the id where nothing is known."""
        if given in self.people:
            return self.people[given].name
        return self.places[given].name if given in self.places else given

    def handles(self) -> dict[str, str]:
        """What may follow an `@`, in lower case, and the id it means."""
        found = {one.handle: one.id for one in self.people.values()}
        return found | {one.name.lower(): one.id for one in self.people.values()}

    def next_ts(self) -> str:
        """A message timestamp: seconds with six decimals, strictly growing."""
        self._last_us = max(int(time.time() * 1_000_000), self._last_us + 1)
        return f"{self._last_us // 1_000_000}.{self._last_us % 1_000_000:06d}"

    def add(self, post: Post) -> Post:
        """Keep a post: an ephemeral one apart, every other in its place."""
        if post.visible_to:
            self.ephemeral.append(post)
        else:
            post.place.add(post, self._kept)
        return post

    def new_trigger(self, user: str, lifetime_s: float) -> Trigger:
        """A trigger in the shape that Slack gives them."""
        trigger_id = f"{time.time_ns() // 1_000}.{secrets.randbelow(10**11)}.{secrets.token_hex(16)}"
        trigger = Trigger(trigger_id, user, time.monotonic() + lifetime_s)
        _keep(self.triggers, trigger_id, trigger)
        return trigger

    def new_reply_url(self, place: Place, user: str, lifetime_s: float, post: Post | None = None) -> str:
        """The secret path of a new response_url."""
        path = f"{world.SLACK_TEAM}/{secrets.randbelow(10**13)}/{secrets.token_urlsafe(18)}"
        _keep(self.reply_urls, path, ReplyUrl(place, user, time.monotonic() + lifetime_s, post))
        return path

    def new_ticket(self, name: str, length: int, alt_text: str) -> tuple[str, File]:
        """The secret part of an upload's address, and what is to come there."""
        file = File("F" + secrets.token_hex(5).upper(), name, length, alt_text)
        ticket = secrets.token_urlsafe(18)
        _keep(self.tickets, ticket, file)
        self.files[file.id] = file
        if len(self.files) > _FILES_KEPT:
            self.files.popitem(last=False)
        return ticket, file

    def new_view(self, user: str, payload: Json, *, previous: View | None = None) -> View:
        """A view with fresh id and hash, not yet shown."""
        view_id = "V" + secrets.token_hex(5).upper()
        root = previous.root_id if previous else view_id
        return View(view_id, user, payload, fresh_hash(), root, previous.id if previous else None)

    def show(self, view: View, *, on_top: bool) -> None:
        """Put a view before its person, alone or on top of those already open."""
        if not on_top:
            self.close_all(view.user)
        self.views[view.id] = view
        self.stacks.setdefault(view.user, []).append(view.id)

    def close_all(self, user: str) -> None:
        """Take away every view that this person has open."""
        for view_id in self.stacks.pop(user, []):
            self.views.pop(view_id, None)

    def close(self, view: View) -> None:
        """Take away one view; those under it come back."""
        self.views.pop(view.id, None)
        stack = self.stacks.get(view.user, [])
        if view.id in stack:
            stack.remove(view.id)

    def shown(self, post: Post) -> Json:
        """A post as the control API writes it."""
        if post.shown is None:
            post.shown = {
                "id": post.ts,
                "author": post.author.name,
                "author_id": post.author.id,
                "text": reading.message_text(post.text, post.blocks, post.attachments, self.name, post.files),
                "payload": post.wire() | ({"metadata": post.metadata} if post.metadata else {}),
                "edits": post.edits,
                "is_marked_edited": post.is_marked_edited,
                "actions": reading.actions_shown(post.all_blocks()),
                "thread": [self.shown(one) for one in post.replies],
            }
            if post.visible_to:
                post.shown |= {"to": self.name(post.visible_to), "to_id": post.visible_to, "channel": post.place.name}
        return post.shown

    def changed(self, post: Post) -> None:
        """Forget how a post (and its parent, which shows it) was written."""
        post.shown = None
        if post.thread_ts and (parent := post.place.index.get(post.thread_ts)):
            parent.shown = None


def fresh_hash() -> str:
    """A view's hash: the time it was changed, and something that no other change has."""
    return f"{int(time.time())}.{secrets.token_hex(4)}"


def _keep(table: OrderedDict[str, Kept], key: str, value: Kept) -> None:
    table[key] = value
    if len(table) > _SHORT_LIVED_KEPT:
        table.popitem(last=False)
