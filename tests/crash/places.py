"""Who and what there is around the bot: projects, the channels that their builds are shown in, and people."""

from __future__ import annotations

import re

from playground import world
from tests.crash.buildbot import PROJECT

STORM, DOOMED, PLAIN, LATE, SIDE = "storm-service", "doomed-service", "plain-service", "late-service", "side-service"
CI, CROWDED, LOST, ADMINS, OTHER, SLOW = "#ci", "#deploys", "#lost", "#admins", "#other", "#slow"
GROUP, ROBOTS = (one.name for one in world.DINGTALK_GROUPS)
GREETER, DEPLOYS = "greeter", "deploy-greeter"
PARCEL, BEACON, SHIPS = "parcel", "beacon", "ship-it"
GOOD, BAD = "v1", "v2"
SLOW_VERSION, NEXT = "v3", "v4"
LAB, GATE = "lab", "gate"
PLACES = {
    PROJECT: (CI, GROUP),
    STORM: (CROWDED,),
    DOOMED: (LOST,),
    PLAIN: (ROBOTS,),
    LATE: (SLOW,),
    SIDE: (),
}
ALICE, ZHANG_MIN = "slack:U024ALICE01", "dingtalk:manager4220"
PEOPLE = ("Alice", "张敏")
_REFUSAL = {"ok": False, "error": "restricted_action"}
REFUSED = {"kind": "status", "method": "chat.postMessage", "place": LOST, "status": 200, "body": _REFUSAL}
LIMITED = {"kind": "retry_after", "method": "chat.update", "retry_after": 1}


def platform_of(channel: str) -> str:
    """Whose a channel is."""
    return "slack" if channel.startswith("#") else "dingtalk"


def shows(project: str, number: int, text: str) -> bool:
    """Whether a message is a build's own, or a digest that lists it: all else names builds without the space."""
    gap = " ?" if "Many builds at once" in text else " "
    return re.search(rf"{re.escape(project)}{gap}#{number}(?!\d)", text) is not None
