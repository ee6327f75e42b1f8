"""DingTalk as one thing: its contents, its tokens, and the doors of its two API hosts."""

import secrets
import time
import uuid

from aiohttp import web

from playground import world
from playground.core import Answer, Core, Incoming, json_object
from playground.dingtalk import cards, robots
from playground.dingtalk.errors import ApiError
from playground.dingtalk.store import DingTalkStore, Place, Post
from playground.dingtalk.stream import Stream
from playground.dingtalk.template import Template, load_template
from playground.options import Json

_TOKEN_S = 7200
_SECRETS = frozenset({"appSecret", "clientSecret", "appsecret"})


class DingTalkPlatform:
    """DingTalk as the bot and its people meet it."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.hub = core.hub
        self.templates: dict[str, Template] = {}
        for given in core.options.dingtalk_templates:
            template = load_template(given)
            self.templates[template.id] = template
        self.store = DingTalkStore(core.options)
        self.stream = Stream(core)
        self.tokens: dict[str, float] = {}
        self.throttled_until: dict[str, float] = {}

    def reset(self) -> None:
        """Empty the organisation; connections and tokens stay."""
        self.store = DingTalkStore(self.core.options)
        self.throttled_until.clear()
        self.stream.cancel()

    def post(self, place: Place, msgtype: str, body: Json) -> Post:
        """Show a message of the bot."""
        post = self.store.add(place, world.BOT_NAME, world.DINGTALK_BOT_USER, msgtype, body)
        self.hub.touch()
        return post

    async def api(self, request: web.Request) -> web.Response:
        """The new API host: `/dingtalk/api/v1.0/…`, errors by HTTP status with `{code, message, requestid}`."""
        path = request.match_info["path"]
        arguments = json_object(await request.read())
        shown = {key: value for key, value in arguments.items() if key not in _SECRETS}
        token = request.headers.get("x-acs-dingtalk-access-token", "")
        name = f"{request.method} /{path}"
        incoming = Incoming("dingtalk", name, self._place_name(arguments), shown)
        return await self.core.receive(
            request, incoming, lambda: self._answer(name, arguments, token), lambda _: _error(_QPS)
        )

    def _place_name(self, arguments: Json) -> str:
        given = str(arguments.get("openConversationId") or arguments.get("openSpaceId") or "")
        place = self.store.places.get(given.rpartition(".")[2])
        if place is None and (card := self.store.cards.get(str(arguments.get("outTrackId")))):
            place = card.posts[0].place if card.posts else None
        return place.name if place else given

    def _answer(self, name: str, arguments: Json, token: str) -> Answer:
        try:
            match name:
                case "POST /v1.0/gateway/connections/open":
                    self._check_app(arguments.get("clientId"), arguments.get("clientSecret"), "authFailed")
                    return Answer(self.stream.new_endpoint(arguments.get("subscriptions")))
                case "POST /v1.0/oauth2/accessToken":
                    self._check_app(arguments.get("appKey"), arguments.get("appSecret"), "invalidClientIdOrSecret")
                    return Answer({"accessToken": self._new_token(), "expireIn": _TOKEN_S})
            if self.tokens.get(token, 0.0) < time.monotonic():
                raise ApiError("InvalidAuthentication", "不合法的access_token", 401)
            work = cards.METHODS.get(name) or robots.METHODS.get(name)
            if work is None:
                raise ApiError("InvalidAction.NotFound", "Specified api is not found, please check your url.", 404)
            return Answer(work(self, arguments))
        except ApiError as error:
            return _error(error)

    def _check_app(self, client_id: object, client_secret: object, code: str) -> None:
        if (client_id, client_secret) != (world.DINGTALK_CLIENT_ID, world.DINGTALK_CLIENT_SECRET):
            raise ApiError(code, "无效的clientId或者clientSecret", 401 if code == "authFailed" else 400)

    def _new_token(self) -> str:
        token = secrets.token_hex(16)
        now = time.monotonic()
        self.tokens = {one: expires for one, expires in self.tokens.items() if expires > now}
        self.tokens[token] = now + _TOKEN_S
        return token

    async def get_token(self, request: web.Request) -> web.Response:
        """The old host's token: `GET /dingtalk/oapi/gettoken`."""
        key, secret = request.query.get("appkey"), request.query.get("appsecret")

        def work() -> Answer:
            try:
                self._check_app(key, secret, "invalid")
            except ApiError:
                return Answer({"errcode": 40089, "errmsg": "不合法的corpid或corpsecret"})
            token = self._new_token()
            return Answer({"errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": _TOKEN_S})

        incoming = Incoming("dingtalk", "gettoken", "", {"appkey": key})
        return await self.core.receive(request, incoming, work, lambda _: Answer(robots.THROTTLED))

    async def user_get(self, request: web.Request) -> web.Response:
        """A person of the address book, on the old host: `POST /dingtalk/oapi/topapi/v2/user/get`."""
        arguments, token = json_object(await request.read()), request.query.get("access_token", "")

        def work() -> Answer:
            if self.tokens.get(token, 0.0) < time.monotonic():
                return Answer(
                    {
                        "errcode": 88,
                        "sub_code": "40014",
                        "sub_msg": "不合法的access_token",
                        "errmsg": "ding talk error[subcode=40014,submsg=不合法的access_token]",
                    }
                )
            person = self.store.people.get(str(arguments.get("userid")))
            if person is None:
                return Answer({"errcode": 60121, "errmsg": "找不到该用户"})
            return Answer({"errcode": 0, "errmsg": "ok", "result": {"userid": person.id, "name": person.name}})

        incoming = Incoming("dingtalk", "topapi/v2/user/get", "", arguments)
        return await self.core.receive(request, incoming, work, lambda _: Answer(robots.THROTTLED))

    async def robot_send(self, request: web.Request) -> web.Response:
        """A custom robot's webhook: `POST /dingtalk/oapi/robot/send`."""
        raw = await request.read()
        robot = self.store.robots.get(request.query.get("access_token", ""))
        place = self.store.places[robot.group].name if robot else ""
        incoming = Incoming("dingtalk", "robot/send", place, json_object(raw))
        attempt = robots.Attempt(request.method, request.content_type, dict(request.query), raw)
        return await self.core.receive(
            request, incoming, lambda: Answer(robots.send(self, attempt)), lambda _: Answer(robots.THROTTLED)
        )

    async def session_send(self, request: web.Request) -> web.Response:
        """A reply to a message the bot was sent: `POST /dingtalk/oapi/robot/sendBySession`."""
        raw = await request.read()
        session = self.store.sessions.get(request.query.get("session", ""))
        incoming = Incoming("dingtalk", "robot/sendBySession", session.place.name if session else "", json_object(raw))
        return await self.core.receive(
            request,
            incoming,
            lambda: Answer(robots.send_by_session(self, session, raw)),
            lambda _: Answer(robots.THROTTLED),
        )


_QPS = ApiError("Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", "应用访问该接口的QPS超限", 403)


def _error(error: ApiError) -> Answer:
    body = {"code": error.code, "message": error.message, "requestid": str(uuid.uuid4()).upper()}
    return Answer(body, error.status)
