"""Interactive cards: created, delivered, updated.

Error codes as in the documentation of `card/instances/createAndDeliver`.
"""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from playground import world
from playground.dingtalk.errors import ApiError
from playground.dingtalk.store import Card, Place
from playground.options import Json

if TYPE_CHECKING:
    from playground.dingtalk.platform import DingTalkPlatform

_SPACES: Final = "dtv1.card//"


def _values(given: object, where: str) -> dict[str, str]:
    param_map = given.get("cardParamMap") if isinstance(given, dict) else None
    if not isinstance(param_map, dict):
        raise ApiError("param.cardPublicDataEmpty", f"{where}.cardParamMap is empty")
    for key, value in param_map.items():
        if not isinstance(value, str):
            raise ApiError("MissingStringValue", f"{where}.cardParamMap.{key} is not a string")
    return param_map


def _track_id(arguments: Json) -> str:
    track_id = arguments.get("outTrackId")
    if not isinstance(track_id, str) or not track_id:
        raise ApiError("param.outTrackIdEmpty")
    return track_id


def _made(dingtalk: "DingTalkPlatform", arguments: Json) -> Card:
    track_id = _track_id(arguments)
    if not arguments.get("cardTemplateId"):
        raise ApiError("param.cardTemplateIdEmpty")
    template = dingtalk.templates.get(str(arguments["cardTemplateId"]))
    if template is None:
        raise ApiError("param.templateNotExist")
    values = dict(_values(arguments.get("cardData"), "cardData"))
    callback = arguments.get("callbackType") or "STREAM"
    if callback not in {"STREAM", "HTTP"}:
        raise ApiError("param.invalid", "callbackType is STREAM or HTTP")
    card = Card(track_id, template, values, callback_type=str(callback))
    for user, data in (arguments.get("privateData") or {}).items():
        card.private[user] = dict(_values(data, f"privateData.{user}"))
    return card


def create(dingtalk: "DingTalkPlatform", arguments: Json) -> Json:
    """POST card/instances"""
    card = _made(dingtalk, arguments)
    if card.out_track_id in dingtalk.store.cards:
        raise ApiError("param.cardAlreadyExist")
    dingtalk.store.keep_card(card)
    return {"success": True, "result": card.out_track_id}


def deliver(dingtalk: "DingTalkPlatform", arguments: Json) -> Json:
    """POST card/instances/deliver"""
    card = dingtalk.store.cards.get(_track_id(arguments))
    if card is None:
        raise ApiError("param.cardNotExist")
    return {"success": True, "result": _delivered(dingtalk, card, arguments)}


def create_and_deliver(dingtalk: "DingTalkPlatform", arguments: Json) -> Json:
    """POST card/instances/createAndDeliver; a known outTrackId is refused unless set otherwise."""
    card = _made(dingtalk, arguments)
    known = dingtalk.store.cards.get(card.out_track_id)
    if known is not None:
        match dingtalk.core.options.dingtalk_duplicate_card:
            case "again":
                card = known
            case "update":
                known.values = card.values
                dingtalk.store.change_card(known)
                return {"success": True, "result": {"outTrackId": known.out_track_id, "deliverResults": []}}
            case _:
                raise ApiError("param.cardAlreadyExist")
    results = _delivered(dingtalk, card, arguments)
    if any(one["success"] for one in results):
        dingtalk.store.keep_card(card)
    return {"success": True, "result": {"outTrackId": card.out_track_id, "deliverResults": results}}


def _delivered(dingtalk: "DingTalkPlatform", card: Card, arguments: Json) -> list[Json]:
    spaces = arguments.get("openSpaceId")
    if not isinstance(spaces, str) or not spaces:
        raise ApiError("param.openSpaceIdEmpty")
    if not spaces.startswith(_SPACES):
        raise ApiError("param.openSpaceIdInvalid")
    results = []
    for space in spaces.removeprefix(_SPACES).split(";"):
        kind, dot, space_id = space.partition(".")
        if not dot or kind.upper() not in {"IM_GROUP", "IM_ROBOT"}:
            raise ApiError("param.openSpaceIdInvalid")
        place, problem = _space(dingtalk, kind.upper(), space_id, arguments)
        result: Json = {
            "spaceType": kind.upper(),
            "spaceId": space_id,
            "success": place is not None,
            "errorMsg": problem,
        }
        if place is not None:
            body = {"cardTemplateId": card.template.id, "outTrackId": card.out_track_id}
            dingtalk.store.add(place, world.BOT_NAME, world.DINGTALK_BOT_USER, "card", body, card)
            result["carrierId"] = secrets.token_urlsafe(18)
        results.append(result)
    return results


def _space(dingtalk: "DingTalkPlatform", kind: str, space_id: str, arguments: Json) -> tuple[Place | None, str]:
    """Where a card goes, or why it cannot; ApiError where the request itself is wrong."""
    model = arguments.get("imGroupOpenDeliverModel" if kind == "IM_GROUP" else "imRobotOpenDeliverModel")
    if not isinstance(model, dict):
        raise ApiError("param.openDeliverModelEmpty")
    if kind == "IM_ROBOT":
        person = dingtalk.store.people.get(space_id)
        return (dingtalk.store.direct(person), "") if person else (None, "param.userIdNotExist")
    if model.get("robotCode") != world.DINGTALK_CLIENT_ID:
        return None, "robotCode is not a robot of this app"
    place = dingtalk.store.places.get(space_id)
    if place is None:
        return None, "conversation does not exist"
    return (place, "") if place.has_bot else (None, "robot is not in the conversation")


def update(dingtalk: "DingTalkPlatform", arguments: Json) -> Json:
    """PUT card/instances: without updateCardDataByKey the whole map is replaced."""
    card = dingtalk.store.cards.get(_track_id(arguments))
    if card is None:
        raise ApiError("param.cardNotExist")
    given = {"cardData": arguments.get("cardData"), "privateData": arguments.get("privateData")}
    apply_change(dingtalk, card, given, arguments.get("cardUpdateOptions"))
    return {"success": True, "result": True}


def apply_change(dingtalk: "DingTalkPlatform", card: Card, given: Json, options: object) -> None:
    """Change a card's public values and those of single people; ApiError where a value is not a string."""
    by_key = options if isinstance(options, dict) else {}
    public = dict(_values(given["cardData"], "cardData")) if given.get("cardData") else None
    private = {user: dict(_values(data, "privateData")) for user, data in (given.get("privateData") or {}).items()}
    if public is not None:
        card.values = card.values | public if by_key.get("updateCardDataByKey") else public
    for user, values in private.items():
        old = card.private.get(user, {}) if by_key.get("updatePrivateDataByKey") else {}
        card.private[user] = old | values
    dingtalk.store.change_card(card)
    dingtalk.hub.touch()


METHODS: Final[dict[str, Callable[["DingTalkPlatform", Json], Json]]] = {
    "POST /v1.0/card/instances": create,
    "POST /v1.0/card/instances/deliver": deliver,
    "POST /v1.0/card/instances/createAndDeliver": create_and_deliver,
    "PUT /v1.0/card/instances": update,
}
