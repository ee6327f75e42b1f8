"""DingTalk as a chat platform: posting and changing cards, answering people, looking them up.

Cards: https://open.dingtalk.com/document/orgapp/create-and-deliver-cards · robot messages:
https://open.dingtalk.com/document/orgapp/the-robot-sends-a-group-message. Calls try once; the delivery loop retries.
There is no call that reads a card, so one in doubt is asked for by an update that changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import datetime
from typing import Any

import requests

from bot.domain.budgets import Budget, Window
from bot.domain.cards import Content, Person
from bot.domain.commands import Actor, ReplyTo
from bot.domain.places import Capabilities, Operation, Place, Rendered
from bot.errors import AuthFailed, DestinationGone, OutcomeUnknown, RateLimited, Rejected, Unavailable
from bot.ports import Calls, Clock, PersonFacts, nothing_more
from integrations.dingtalk.api import App, post_markdown, send_to_robot
from integrations.dingtalk.config import ROBOT_ACCOUNT, SYSTEM, USER_PREFIX, Budgets, Config, Robot
from integrations.dingtalk.failures import of_delivery
from integrations.dingtalk.render import Manners, Shape, app_markdown, render, robot_markdown
from integrations.texts import MAX_EMAIL, MAX_NAME, clean_line

BURST = 5
LEAST_PER_SECOND = 10
URL_MARGIN_S = 10.0
CARD_PATH = "/v1.0/card/instances"
# A variable that the template does not have: nothing changes for those who read the card.
_NOTHING_SHOWN = {"asked": "1"}


class DingTalkMessenger:
    """Shows content through custom robots (by name) and, in groups (id to name), through the app robot."""

    def __init__(
        self,
        config: Config,
        robots: Mapping[str, Robot],
        groups: Mapping[str, str],
        *,
        session: requests.Session,
        app: App | None,
        clock: Clock,
    ) -> None:
        self._config = config
        self._robots = dict(robots)
        self._groups = dict(groups)
        self._by_key = {robot.key: robot for robot in robots.values()}
        self._session = session
        self._app = app
        self._clock = clock

    def resolve(self, address: str) -> Place:
        """No network: the keys are made of what the configuration says."""
        kind, _, name = address.removeprefix(f"{SYSTEM}:").partition(":")
        if kind == "robot" and name in self._robots:
            return Place(self._robots[name].key, name)
        if kind == "group" and name and self._app is not None:
            return Place(f"{SYSTEM}:{self._app.client_id}/{name}", self._groups.get(name, name))
        raise DestinationGone(SYSTEM, "not_configured", kind)

    def capabilities(self, place: Place) -> Capabilities:
        """Only interactive cards can be changed, and found again."""
        is_card = self._manners(place).shape is Shape.CARD
        per_minute = (
            self._config.budgets.robot_per_minute if _is_robot(place) else self._config.budgets.group_per_minute
        )
        accounts = {} if _is_robot(place) else self._account_budgets(place)
        return Capabilities(
            can_edit=is_card,
            can_thread=False,
            can_find=is_card,
            place_budget=_budget(self._config.budgets, place.key, per_minute, BURST),
            account_budgets=accounts,
            is_idempotent=is_card,
        )

    def render(self, content: Content, place: Place) -> Rendered:
        """An interactive card where there is a template, else markdown."""
        return render(content, self._manners(place))

    def send(
        self, place: Place, rendered: Rendered, *, attempt_id: str, ref: str | None = None, parent: str | None = None
    ) -> str:
        """Cards are known by an outTrackId made of the attempt, so that a repeated attempt makes no second card."""
        if _is_robot(place):
            send_to_robot(self._session, self._robot(place), rendered.payload, self._clock.now())
            return f"robot-{attempt_id}"
        app = self._need_app()
        if "cardData" not in rendered.payload:
            return _send_markdown(app, self._config.robot, place.id, rendered.payload)
        if ref is None:
            return self._post_card(app, place, rendered, attempt_id)
        self._change_card(app, ref, rendered.payload["cardData"])
        return ref

    def find(
        self,
        place: Place,
        *,
        attempt_id: str,
        since: datetime,
        parent: str | None = None,
        more: Callable[[], None] = nothing_more,
    ) -> str | None:
        """Whether the attempt's card exists: an update tells, there being no call that reads one."""
        track_id = _track_id(attempt_id)
        try:
            self._change_card(self._need_app(), track_id, {"cardParamMap": _NOTHING_SHOWN})
        except DestinationGone:
            return None
        return track_id

    def _post_card(self, app: App, place: Place, rendered: Rendered, attempt_id: str) -> str:
        track_id = _track_id(attempt_id)
        space = {"supportForward": False}  # its buttons act, and those who may press them are in its group
        body = {
            "cardTemplateId": self._config.card_template_id,
            "outTrackId": track_id,
            "callbackType": "STREAM",
            "userIdType": 1,
            "imGroupOpenSpaceModel": space,
            "imRobotOpenSpaceModel": space,
            "openSpaceId": f"dtv1.card//IM_GROUP.{place.id}",
            **rendered.payload,
            "imGroupOpenDeliverModel": {
                **rendered.payload.get("imGroupOpenDeliverModel", {}),
                "robotCode": self._config.robot,
            },
        }
        try:
            _check_delivered(app.request("POST", f"{CARD_PATH}/createAndDeliver", body))
        except Rejected as problem:
            if problem.reason != "already_exists":
                raise
            self._change_card(app, track_id, rendered.payload["cardData"])
        return track_id

    def _change_card(self, app: App, track_id: str, card_data: Mapping[str, Any]) -> None:
        options = {"updateCardDataByKey": True, "updatePrivateDataByKey": True}
        body = {"outTrackId": track_id, "userIdType": 1, "cardUpdateOptions": options, "cardData": card_data}
        try:
            app.request("PUT", CARD_PATH, body)
        except DestinationGone as problem:
            raise DestinationGone(SYSTEM, "message_not_found", problem.detail) from None

    def _manners(self, place: Place) -> Manners:
        name = self._config.bot_name
        if _is_robot(place):
            robot = self._by_key.get(place.key)
            return Manners(Shape.ROBOT, name if robot is not None and robot.commands else "")
        has_card = self._config.card_template_id is not None and not place.id.startswith(USER_PREFIX)
        return Manners(Shape.CARD if has_card else Shape.MARKDOWN, name)

    def _account_budgets(self, place: Place) -> dict[Operation, tuple[Window, ...]]:
        """Posts and changes apart, each by the minute and by the second; a card is looked for by a change."""
        if self._config.budgets.lifted:
            return {}
        calls = self._config.budgets.app_per_minute
        found = {}
        for operation in (Operation.POST, Operation.UPDATE):
            scope = f"{SYSTEM}:{place.account}:{operation}"
            at_once = max(LEAST_PER_SECOND, calls // 30)  # twice the average
            found[operation] = (Window(scope, calls), Window(f"{scope}/s", at_once, 1.0))
        return {**found, Operation.FIND: found[Operation.UPDATE]}

    def _robot(self, place: Place) -> Robot:
        robot = self._by_key.get(place.key)
        if robot is None:
            raise DestinationGone(SYSTEM, "not_configured", "robot")
        return robot

    def _need_app(self) -> App:
        if self._app is None:
            raise DestinationGone(SYSTEM, "not_configured", "app")
        return self._app


class DingTalkResponder:
    """Answers through the conversation's session webhook while it lives, else through the robot's API.

    DingTalk has no message that one person of a group sees: a private answer mentions the asker.
    """

    def __init__(
        self, config: Config, session: requests.Session, app: App | None, clock: Clock, calls: Calls | None = None
    ) -> None:
        self._config = config
        self._session = session
        self._app = app
        self._clock = clock
        self._calls = calls

    def spending(self, calls: Calls) -> DingTalkResponder:
        """A session webhook belongs to what was said, and no limit of it is known; all else counts as cards do."""
        return DingTalkResponder(self._config, self._session, self._app, self._clock, calls)

    def respond(self, reply_to: ReplyTo, content: Content, actor: Actor) -> None:
        """Show the answer where it was asked for; a session webhook that is refused is replaced by the API."""
        manners = Manners(Shape.ROBOT, self._config.bot_name)
        place = Place(reply_to.place, "").id
        asker = None if place.startswith(USER_PREFIX) or actor.is_outsider else _mention_of(actor)
        if reply_to.url and (
            reply_to.url_expires_at is None or self._clock.now().timestamp() + URL_MARGIN_S < reply_to.url_expires_at
        ):
            try:
                post_markdown(self._session, reply_to.url, robot_markdown(content, manners, also_mention=asker))
            except (AuthFailed, DestinationGone, RateLimited, Rejected, Unavailable):
                if self._app is None:
                    raise
            else:
                return
        self._send(place, app_markdown(content, manners, for_person=asker))

    def whisper(self, reply_to: ReplyTo, content: Content, actor: Actor) -> None:
        """Show it in the one-to-one conversation with the robot, wherever it was asked for."""
        place = f"{USER_PREFIX}{actor.account.partition(':')[2]}"
        self._send(place, app_markdown(content, Manners(Shape.ROBOT, self._config.bot_name)))

    def _send(self, place_id: str, payload: Mapping[str, Any]) -> None:
        app = self._app
        if app is None:
            raise DestinationGone(SYSTEM, "not_configured", "app")
        place = Place(f"{SYSTEM}:{app.client_id}/{place_id}", place_id)
        with nullcontext() if self._calls is None else self._calls.made(place, Operation.POST):
            _send_markdown(app, self._config.robot, place_id, payload)


class DingTalkDirectory:
    """Knows people by the address book, where the app may read it (permission 成员信息读权限)."""

    def __init__(self, app: App) -> None:
        self._app = app

    def look_up(self, account_id: str) -> PersonFacts:
        """Name and the organisation's mail address; empty, for the name that came with the request, where it is closed.

        An own address (`email`) is not used: whoever may edit it could take another person's roles.
        Source: https://open.dingtalk.com/document/orgapp/query-user-details.
        """
        try:
            answer = self._app.ask_old("/topapi/v2/user/get", {"userid": account_id})
        except (AuthFailed, DestinationGone, Rejected) as problem:
            return PersonFacts("", None, is_outsider=problem.reason == "person_not_found")
        person = answer.get("result")
        if not isinstance(person, dict):
            raise Unavailable(SYSTEM, "unreadable_answer", "no person")
        name = clean_line(str(person.get("name") or ""), MAX_NAME)
        return PersonFacts(name, clean_line(str(person.get("org_email") or ""), MAX_EMAIL) or None, is_outsider=False)


def _send_markdown(app: App, robot_code: str, place_id: str, payload: Mapping[str, Any]) -> str:
    """Post as the app robot to a group, or to a person for `user:<id>`; returns the platform's key of the message."""
    if place_id.startswith(USER_PREFIX):
        person = place_id.removeprefix(USER_PREFIX)
        body = {"robotCode": robot_code, "userIds": [person], **payload}
        result = app.request("POST", "/v1.0/robot/oToMessages/batchSend", body)
        if person in (result.get("flowControlledStaffIdList") or ()):
            raise Unavailable(SYSTEM, "throttled", "one-to-one")
        if person in (*(result.get("invalidStaffIdList") or ()), *(result.get("filteredStaffIdList") or ())):
            raise DestinationGone(SYSTEM, "person_not_found")
    else:
        body = {"robotCode": robot_code, "openConversationId": place_id, **payload}
        result = app.request("POST", "/v1.0/robot/groupMessages/send", body)
    key = result.get("processQueryKey")
    if not isinstance(key, str) or not key:
        raise OutcomeUnknown(SYSTEM, "unreadable_answer", "no processQueryKey")
    return key


def _check_delivered(answer: Mapping[str, Any]) -> None:
    """Success is said for the call and again for each place that the card goes to."""
    result = answer.get("result")
    deliveries = result.get("deliverResults") if isinstance(result, dict) else None
    if not isinstance(deliveries, list) or not deliveries:
        raise OutcomeUnknown(SYSTEM, "unreadable_answer", "no deliverResults")
    for one in deliveries:
        if not isinstance(one, dict) or one.get("success") is not True:
            raise of_delivery(str(one.get("errorMsg", "")) if isinstance(one, dict) else "")


def _mention_of(actor: Actor) -> Person:
    return Person(actor.name, actor.account, is_mentioned=True)


def _track_id(attempt_id: str) -> str:
    return f"ship-{attempt_id}"


def _is_robot(place: Place) -> bool:
    return place.account == ROBOT_ACCOUNT


def _budget(budgets: Budgets, scope: str, per_minute: int, burst: int) -> Budget:
    return Budget(scope, 0.0) if budgets.lifted else Budget.per_minute(scope, per_minute, burst=burst)
