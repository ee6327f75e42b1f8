"""Cards and modals that several tests send."""

import json
from typing import Any

from playground import world

Json = dict[str, Any]
CARDS = "/v1.0/card/instances"
BUTTONS = json.dumps([{"id": "retry", "text": "重试", "color": "blue", "params": {"command": "retry a#1"}}])
FIELDS = json.dumps([{"label": "分支", "value": "main"}])


def card(**changes: Any) -> Json:
    """A rightful createAndDeliver."""
    values = {"title": "Build", "status_text": "失败", "body": "**hi**", "fields": FIELDS, "buttons": BUTTONS}
    return {
        "cardTemplateId": "build.schema",
        "outTrackId": "t1",
        "cardData": {"cardParamMap": values},
        "callbackType": "STREAM",
        "openSpaceId": f"dtv1.card//IM_GROUP.{world.DINGTALK_GROUP}",
        "imGroupOpenSpaceModel": {"supportForward": True},
        "imGroupOpenDeliverModel": {"robotCode": world.DINGTALK_CLIENT_ID},
        "userIdType": 1,
    } | changes


def plain(text: str) -> Json:
    """A plain text object."""
    return {"type": "plain_text", "text": text}


def modal(*blocks: Json, **changes: Any) -> Json:
    """A modal."""
    return {"type": "modal", "callback_id": "m", "title": plain("Title"), "blocks": list(blocks)} | changes


SECTION = {"type": "section", "text": plain("Loading")}
