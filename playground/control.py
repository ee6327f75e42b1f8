"""The control API: what the playground shows, what it was asked, acting as a person, faults, options, reset."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import TypeVar

from aiohttp import web

from playground import world
from playground.acts import ActError
from playground.core import Core
from playground.dingtalk.acting import DingTalkActing
from playground.dingtalk.platform import DingTalkPlatform
from playground.dingtalk.store import Place as Group
from playground.faults import parse_fault
from playground.options import Json
from playground.slack.acting import SlackActing, view_shown
from playground.slack.platform import SlackPlatform
from playground.slack.store import Place as Channel

Post = TypeVar("Post")

_STREAM_PAUSE_S = 0.1
_STREAM_IDLE_S = 15.0
_LONGEST_WAIT_S = 60.0


class Control:
    """The JSON API under `/api`."""

    def __init__(self, core: Core, slack: SlackPlatform, dingtalk: DingTalkPlatform) -> None:
        self._core = core
        self._slack = slack
        self._dingtalk = dingtalk
        self._slack_acting = SlackActing(slack)
        self._dingtalk_acting = DingTalkActing(dingtalk)

    def routes(self) -> list[web.RouteDef]:
        """The routes of the API."""
        return [
            web.get("/api/state", _guarded(self._state)),
            web.get("/api/world", _guarded(self._world)),
            web.get("/api/calls", _guarded(self._calls)),
            web.get("/api/deliveries", _guarded(self._deliveries)),
            web.get("/api/stream", self._stream),
            web.post("/api/act", _guarded(self._act)),
            web.put("/api/faults", _guarded(self._faults)),
            web.put("/api/options", _guarded(self._options)),
            web.post("/api/reset", _guarded(self._reset)),
        ]

    async def _state(self, request: web.Request) -> Json:
        beyond = request.query.get("beyond")
        if beyond is not None:
            timeout_s = min(float(request.query.get("timeout_s", 10)), _LONGEST_WAIT_S)
            await self._core.hub.wait_beyond(int(beyond), timeout_s)
        wanted, channel = request.query.get("platform"), request.query.get("channel")
        recent = int(request.query.get("recent", self._core.options.messages_kept))
        platforms: Json = {}
        if wanted in {None, "slack"}:
            platforms["slack"] = self._slack_state(channel, recent)
        if wanted in {None, "dingtalk"}:
            platforms["dingtalk"] = self._dingtalk_state(channel, recent, request.query.get("as"))
        return {
            "revision": self._core.hub.revision,
            "platforms": platforms,
            "violations": self._core.violations.since(0),
            "faults": [one.shown() for one in self._core.faults.rules],
            "last_call": self._core.calls.last,
            "last_delivery": self._core.deliveries.last,
        }

    def _slack_state(self, channel: str | None, recent: int) -> Json:
        store = self._slack.store
        channels = {
            place.name: {
                **_described(place),
                "is_archived": place.is_archived,
                "messages": [store.shown(one) for one in _last(place.posts, recent)],
            }
            for place in store.places.values()
            if channel in {None, place.name, place.id}
        }
        return {
            "connections": self._slack.sockets.count,
            "mode": self._core.options.slack_mode,
            "channels": channels,
            "modals": {one.id: view_shown(self._slack, one) for one in store.views.values()},
            "homes": {user: view_shown(self._slack, one) for user, one in store.homes.items()},
            "ephemeral": [
                store.shown(one) for one in store.ephemeral if channel in {None, one.place.name, one.place.id}
            ],
        }

    def _dingtalk_state(self, channel: str | None, recent: int, viewer: str | None) -> Json:
        store = self._dingtalk.store
        person = store.person_named(viewer) if viewer else None
        channels = {
            place.name: {
                **_described(place),
                "messages": [store.shown(one, person.id if person else None) for one in _last(place.posts, recent)],
            }
            for place in store.places.values()
            if channel in {None, place.name, place.id}
        }
        connections = self._dingtalk.stream.count
        return {"connections": connections, "channels": channels, "modals": {}, "homes": {}, "ephemeral": []}

    async def _world(self, request: web.Request) -> Json:
        def person(one: world.Person) -> Json:
            marks = {"is_bot": one.is_bot, "is_guest": one.is_guest, "is_stranger": one.is_stranger}
            return {"id": one.id, "name": one.name, "handle": one.handle, **marks}

        options = self._core.options
        return {
            "bot": world.BOT_NAME,
            "slack": {
                "team": world.SLACK_TEAM_NAME,
                "people": [person(one) for one in world.SLACK_PEOPLE if one.id != world.SLACK_BOT_USER],
                "commands": list(options.slack_commands),
                "names": {one.id: one.name for one in self._slack.store.people.values()}
                | {one.id: one.name for one in self._slack.store.places.values()},
            },
            "dingtalk": {
                "people": [person(one) for one in world.DINGTALK_PEOPLE],
                "templates": sorted(self._dingtalk.templates),
            },
        }

    async def _calls(self, request: web.Request) -> Json:
        wanted = {key: request.query.get(key) for key in ("platform", "method", "place")}
        calls = self._core.calls.since(int(request.query.get("since", 0)), **wanted)
        return {"calls": calls, "last": self._core.calls.last}

    async def _deliveries(self, request: web.Request) -> Json:
        wanted = {key: request.query.get(key) for key in ("platform", "kind", "envelope_id")}
        deliveries = self._core.deliveries.since(int(request.query.get("since", 0)), **wanted)
        return {"deliveries": deliveries, "last": self._core.deliveries.last}

    async def _act(self, request: web.Request) -> Json:
        given = await _object(request)
        match given.get("platform", "slack"):
            case "slack":
                return await self._slack_acting.act(given)
            case "dingtalk":
                return await self._dingtalk_acting.act(given)
            case other:
                raise ActError(f"there is no platform {other!r}")

    async def _faults(self, request: web.Request) -> Json:
        given = await request.json()
        rules = given.get("faults") if isinstance(given, dict) else given
        if not isinstance(rules, list):
            raise ActError("faults is a list")
        self._core.faults.rules = [parse_fault(one) for one in rules]
        self._core.hub.touch()
        return {"faults": [one.shown() for one in self._core.faults.rules]}

    async def _options(self, request: web.Request) -> Json:
        self._core.options = self._core.options.changed(await _object(request))
        self._core.hub.touch()
        return {"ok": True}

    async def _reset(self, request: web.Request) -> Json:
        self._core.reset()
        self._slack.reset()
        self._dingtalk.reset()
        self._core.hub.touch()
        return {"ok": True}

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the revision, each time it has grown."""
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        revision = -1
        try:
            while True:
                newer = await self._core.hub.wait_beyond(revision, _STREAM_IDLE_S)
                note = f"data: {newer}\n\n" if newer != revision else ": idle\n\n"
                revision = newer
                await response.write(note.encode())
                await asyncio.sleep(_STREAM_PAUSE_S)
        except ConnectionError:
            return response


def _described(place: Channel | Group) -> Json:
    return {"id": place.id, "has_bot": place.has_bot, "person": place.person}


def _last(posts: OrderedDict[str, Post], number: int) -> list[Post]:
    newest = list(islice(reversed(posts.values()), number))
    return newest[::-1]


async def _object(request: web.Request) -> Json:
    given = await request.json()
    if not isinstance(given, dict):
        raise ActError("the body is a JSON object")
    return given


def _guarded(work: Callable[[web.Request], Awaitable[Json]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            answer, status = await work(request), 200
        except (ActError, ValueError) as error:
            answer, status = {"ok": False, "error": "bad_request", "text": str(error)}, 400
        raw = json.dumps(answer, ensure_ascii=False).encode()
        return web.Response(body=raw, status=status, content_type="application/json")

    return handle
