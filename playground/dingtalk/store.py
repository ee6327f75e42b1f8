"""What a DingTalk organisation holds: people, conversations, messages and cards, all in memory and bounded."""

import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from playground import world
from playground.dingtalk import text as reading
from playground.dingtalk.template import Template
from playground.options import Json, Options

_CARDS_KEPT = 5_000
_SESSIONS_KEPT = 2_000


@dataclass(slots=True)
class Card:
    """A card instance: public and per-person values, all strings."""

    out_track_id: str
    template: Template
    values: dict[str, str]
    private: dict[str, dict[str, str]] = field(default_factory=dict)
    callback_type: str = "STREAM"
    edits: int = 0
    posts: list["Post"] = field(default_factory=list)

    def components(self, viewer: str | None = None) -> list[Json]:
        """The card as one person sees it, or as everybody does."""
        return self.template.components(self.values | self.private.get(viewer or "", {}))


@dataclass(slots=True)
class Post:
    """One message of a conversation: `body` is the part of its msgtype, or it shows a card."""

    id: str
    place: "Place"
    author: str
    author_id: str
    msgtype: str
    body: Json
    card: Card | None = None
    shown: Json | None = None


@dataclass(slots=True)
class Place:
    """A group, or the conversation of one person with the bot."""

    id: str
    name: str
    has_bot: bool
    person: str | None = None
    posts: OrderedDict[str, Post] = field(default_factory=OrderedDict)


@dataclass(slots=True)
class Session:
    """A sessionWebhook: the conversation it writes to until it expires."""

    place: Place
    expires: float


class DingTalkStore:
    """The organisation's contents; made anew by a reset."""

    def __init__(self, options: Options) -> None:
        self.people = {one.id: one for one in world.DINGTALK_PEOPLE}
        self.robots = {one.token: one for one in world.DINGTALK_ROBOTS}
        self.places = {one.id: Place(one.id, one.name, one.has_bot) for one in world.DINGTALK_GROUPS}
        self.cards: OrderedDict[str, Card] = OrderedDict()
        self.sessions: OrderedDict[str, Session] = OrderedDict()
        self._kept = options.messages_kept

    def place_named(self, name: str) -> Place | None:
        """The conversation with this id or name."""
        if name in self.places:
            return self.places[name]
        return next((one for one in self.places.values() if one.name == name), None)

    def person_named(self, given: str) -> world.Person | None:
        """The person with this staff id, handle or name."""
        wanted = given.lstrip("@")
        if wanted in self.people:
            return self.people[wanted]
        return next((one for one in self.people.values() if wanted in {one.handle, one.name}), None)

    def direct(self, person: world.Person) -> Place:
        """The conversation of this person with the bot."""
        place_id = "cid" + hashlib.sha256(person.id.encode()).hexdigest()[:20] + "=="
        if place_id not in self.places:
            self.places[place_id] = Place(place_id, "@" + person.name, has_bot=True, person=person.id)
        return self.places[place_id]

    def create(self, name: str, *, has_bot: bool = True) -> Place:
        """Make a group (or answer the one of that name); its id follows from its name."""
        if found := self.place_named(name):
            return found
        place_id = "cid" + hashlib.sha256(name.encode()).hexdigest()[:20] + "=="
        self.places[place_id] = Place(place_id, name, has_bot)
        return self.places[place_id]

    def add(
        self, place: Place, author: str, author_id: str, msgtype: str, body: Json, card: Card | None = None
    ) -> Post:
        """Put a message at the end of a conversation."""
        post = Post("msg" + secrets.token_urlsafe(12), place, author, author_id, msgtype, body, card)
        place.posts[post.id] = post
        if card is not None:
            card.posts.append(post)
        if len(place.posts) > self._kept:
            place.posts.popitem(last=False)
        return post

    def keep_card(self, card: Card) -> None:
        """Keep a new card instance."""
        self.cards[card.out_track_id] = card
        if len(self.cards) > _CARDS_KEPT:
            self.cards.popitem(last=False)

    def change_card(self, card: Card) -> None:
        """Note that a card looks different now."""
        card.edits += 1
        for post in card.posts:
            post.shown = None

    def new_session(self, place: Place, lifetime_s: float) -> tuple[str, int]:
        """A session secret and the time in milliseconds until which it is good."""
        secret, expires = secrets.token_hex(16), time.time() + lifetime_s
        self.sessions[secret] = Session(place, expires)
        if len(self.sessions) > _SESSIONS_KEPT:
            self.sessions.popitem(last=False)
        return secret, int(expires * 1000)

    def shown(self, post: Post, viewer: str | None = None) -> Json:
        """A message as the control API writes it, for one person where a card has something for them alone."""
        card = post.card
        if card is not None and viewer in card.private:
            return self._written(post, card.components(viewer))
        if post.shown is None:
            post.shown = self._written(post, card.components() if card else [])
        return post.shown

    def _written(self, post: Post, components: list[Json]) -> Json:
        text, actions = _card_read(components) if post.card else reading.read(post.msgtype, post.body)
        payload: Json = {"msgtype": post.msgtype, post.msgtype: post.body}
        if post.card:
            payload = {"msgtype": "card", **post.body, "cardParamMap": post.card.values, "components": components}
        mentions = self._mentions(post)
        for person, name in mentions.items():
            text = text.replace(f"@{person}", f"@{name}")
        return {
            "id": post.id,
            "author": post.author,
            "author_id": post.author_id,
            "text": text,
            "mentions": mentions,
            "payload": payload,
            "edits": post.card.edits if post.card else 0,
            "actions": actions,
            "thread": [],
        }

    def _mentions(self, post: Post) -> dict[str, str]:
        """Staff id to name of those whom a message calls: the client draws `@id` as their name."""
        at = post.body.get("at")
        called = at.get("atUserIds") if isinstance(at, dict) else None
        return {one: self.people[one].name for one in called or [] if one in self.people}


def _card_read(components: list[Json]) -> tuple[str, list[Json]]:
    lines: list[str] = []
    actions: list[Json] = []
    for one in components:
        match one["type"]:
            case "title" | "tag" | "text":
                lines.append(str(one["text"]))
            case "markdown":
                lines.append(reading.plain(str(one["content"])))
            case "fields":
                lines += [f"{each.get('label', '')}: {each.get('value', '')}" for each in one["items"]]
            case "buttons":
                actions += [{"id": each["id"], "label": each["text"], **each} for each in one["buttons"]]
            case _:
                pass
    return "\n".join(line for line in lines if line), actions
