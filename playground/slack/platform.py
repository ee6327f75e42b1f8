"""The Slack workspace as one thing: its contents, its Web API door and what writes into its channels."""

import math
from urllib.parse import parse_qsl

from aiohttp import web

from playground import budgets, world
from playground.core import Answer, Core, Incoming, json_object
from playground.options import Json
from playground.slack import chat, directory, files, views
from playground.slack.call import Call, SlackError
from playground.slack.outbox import Outbox
from playground.slack.socket import Sockets
from playground.slack.store import Place, Post, SlackStore

METHODS = chat.METHODS | directory.METHODS | views.METHODS | files.METHODS
_SECRETS = frozenset({"token", "client_secret"})
_PUBLIC = frozenset({"blocks.validate"})
_SCOPES = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.delete": "chat:write",
    "chat.postEphemeral": "chat:write",
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
    "conversations.list": "channels:read",
    "conversations.info": "channels:read",
    "conversations.members": "channels:read",
    "conversations.join": "channels:join",
    "conversations.open": "im:write",
    "users.conversations": "channels:read",
    "users.info": "users:read",
    "users.list": "users:read",
    "users.lookupByEmail": "users:read.email",
    "bots.info": "users:read",
    "team.info": "team:read",
    "reactions.add": "reactions:write",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
}
SLACKBOT = world.Person("USLACKBOT", "Slackbot", "slackbot", team=world.SLACK_TEAM, is_bot=True)


class SlackPlatform:
    """Slack as the bot and its people meet it."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.hub = core.hub
        self.store = SlackStore(core.options)
        self.sockets = Sockets(core)
        self.outbox = Outbox(core, self.sockets)

    @property
    def bot(self) -> world.Person:
        """The bot as a person of the workspace."""
        return self.store.people[world.SLACK_BOT_USER]

    @property
    def public_url(self) -> str:
        """The address that the playground's own links begin with."""
        return self.core.public_url

    def reset(self) -> None:
        """Empty the workspace; connections stay."""
        self.store = SlackStore(self.core.options)
        self.outbox.cancel()

    def post(
        self,
        place: Place,
        author: world.Person,
        content: Json,
        thread_ts: str | None = None,
        metadata: Json | None = None,
    ) -> Post:
        """Show a new message."""
        parent = place.index.get(thread_ts) if thread_ts else None
        root = (parent.thread_ts or parent.ts) if parent else None
        post = Post(self.store.next_ts(), place, author, thread_ts=root, metadata=metadata)
        _fill(post, content)
        self.store.add(post)
        self.hub.touch()
        return post

    def whisper(
        self,
        place: Place,
        user: str,
        content: Json,
        thread_ts: str | None = None,
        *,
        author: world.Person | None = None,
    ) -> Post:
        """Show a message to one person only."""
        post = Post(self.store.next_ts(), place, author or self.bot, thread_ts=thread_ts, visible_to=user)
        _fill(post, content)
        self.store.add(post)
        self.hub.touch()
        return post

    def edit(self, post: Post, content: Json) -> None:
        """Show other content in a message: text alone takes the blocks away, attachments stay unless given."""
        if "blocks" not in content and "text" in content:
            content = content | {"blocks": []}
        _fill(post, content)
        post.edits += 1
        post.edited_ts = self.store.next_ts()
        post.is_marked_edited = not post.blocks
        self.store.changed(post)
        self.hub.touch()

    def delete(self, post: Post) -> None:
        """Take a message away; one with a thread leaves a stub behind, as in Slack."""
        place = post.place
        if post.visible_to:
            if post in self.store.ephemeral:
                self.store.ephemeral.remove(post)
        elif post.replies:
            post.subtype, post.text = "tombstone", "This message was deleted."
            post.blocks, post.attachments, post.metadata = [], [], None
            self.store.changed(post)
        else:
            place.posts.pop(post.ts, None)
            place.index.pop(post.ts, None)
            if post.thread_ts and (parent := place.index.get(post.thread_ts)) and post in parent.replies:
                parent.replies.remove(post)
                parent.shown = None
        self.hub.touch()

    async def web_api(self, request: web.Request) -> web.Response:
        """The Web API: `POST /slack/api/<method>`."""
        method = request.match_info["method"]
        arguments = _arguments(request, await request.read())
        token = _token(request, arguments)
        shown = {key: value for key, value in arguments.items() if key not in _SECRETS}
        channel = str(shown.get("channel") or shown.get("channel_id") or "")
        place = self.store.places.get(channel)
        incoming = Incoming("slack", method, place.name if place else channel, shown)
        call = Call(self, method, shown)
        return await self.core.receive(request, incoming, lambda: self._answer(call, token), _throttled)

    def _answer(self, call: Call, token: str) -> Answer:
        try:
            if call.method not in METHODS:
                raise SlackError("unknown_method", req_method=call.method)
            if call.method not in _PUBLIC:
                self._authorise(call.method, token)
            if wait := self._overspent(call):
                return _throttled(math.ceil(wait))
            return Answer(METHODS[call.method](call))
        except SlackError as error:
            return Answer(error.answer())

    def _authorise(self, method: str, token: str) -> None:
        if not token:
            raise SlackError("not_authed")
        wanted = world.SLACK_APP_TOKEN if method == "apps.connections.open" else world.SLACK_BOT_TOKEN
        if token != wanted:
            raise SlackError("not_allowed_token_type" if token in _TOKENS else "invalid_auth")
        if self.core.options.slack_token_revoked:
            raise SlackError("token_revoked")
        scopes, needed = self.core.options.slack_scopes, _SCOPES.get(method)
        if scopes is not None and needed and needed not in scopes:
            raise SlackError("missing_scope", needed=needed, provided=",".join(scopes))

    def _overspent(self, call: Call) -> float:
        if call.method == "chat.postMessage":
            burst = self.core.options.slack_burst
            channel = call.text("channel")
            place = self.store.place_named(channel)
            key = f"slack:post:{place.id if place else channel}"
            return self.core.spend(key, limit=burst, window_s=float(burst))
        limit = budgets.SLACK_PER_MINUTE.get(call.method)
        return self.core.spend(f"slack:{call.method}", limit=limit, window_s=60.0) if limit else 0.0


_TOKENS = frozenset({world.SLACK_APP_TOKEN, world.SLACK_BOT_TOKEN})


def _fill(post: Post, content: Json) -> None:
    post.text = content.get("text", post.text)
    post.blocks = content.get("blocks", post.blocks)
    post.attachments = content.get("attachments", post.attachments)


def _throttled(wait_s: int) -> Answer:
    return Answer({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": str(max(wait_s, 1))})


def _arguments(request: web.Request, raw: bytes) -> Json:
    arguments: Json = dict(request.query)
    if request.content_type == "application/json":
        return arguments | json_object(raw)
    if raw:
        arguments |= dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))
    return arguments


def _token(request: web.Request, arguments: Json) -> str:
    header = request.headers.get("Authorization", "")
    return header.removeprefix("Bearer ").strip() if header else str(arguments.get("token") or "")
