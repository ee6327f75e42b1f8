"""DingTalk's payloads as text for a terminal: the markdown that is sent, and the variables of the card template."""

from __future__ import annotations

import json
from typing import Any

from bot.domain.cards import Content
from integrations.dingtalk.render import Manners, Shape, render
from integrations.spec import Preview

_BOT_NAME = "Shipmate"


def preview(content: Content) -> tuple[Preview, ...]:
    """An interactive card, an app robot's markdown, and a custom robot's in a group where nobody hears commands."""
    card = dict(render(content, Manners(Shape.CARD, _BOT_NAME)).payload)
    markdown = dict(render(content, Manners(Shape.MARKDOWN, _BOT_NAME)).payload)
    robot = dict(render(content, Manners(Shape.ROBOT, "")).payload)
    return (
        Preview("card", card, _card_text(card["cardData"]["cardParamMap"])),
        Preview("markdown", markdown, json.loads(markdown["msgParam"])["text"]),
        Preview("robot", robot, robot["markdown"]["text"]),
    )


def _card_text(variables: dict[str, Any]) -> str:
    buttons = "  ".join(f"[ {button['text']} ]" for button in json.loads(variables["btns"]))
    status = f"({variables['status_color']}) {variables['status']}" if variables["status"] else ""
    parts = (variables["title"], status, variables["fields"], variables["body"], variables["footer"], buttons)
    return "\n\n".join(part for part in parts if part)
