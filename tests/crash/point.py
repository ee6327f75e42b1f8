"""What a kill point is, and the functions that several groups of points name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LOAD = "the load says so"
COMMIT = "sqlalchemy:Connection.commit"
CARDS, DELIVERIES = "bot.storage.cards:SqlCards", "bot.storage.deliveries:SqlDeliveries"
POST, UPDATE = "slack_sdk.web:WebClient.chat_postMessage", "slack_sdk.web:WebClient.chat_update"
ROBOT = "integrations.dingtalk.client:send_to_robot"
AUDIT = "bot.storage.places:SqlAuditTrail"
RECORDS = "bot.services.deployments.records:Records.put"
SHIPPER, ENDING = "bot.services.deployments.engine:DeploymentWorker", "bot.services.deployments.ending:Ending"
RUNNING = "bot.services.deployments.running:Running"
STEPPING = "bot.services.deployments.stepping:Stepping"
PIPELINE = "bot.services.deployments.pipelines:BuildDeploys"
DESK = "bot.services.deployments.desk:DeploymentDesk"


@dataclass(frozen=True, slots=True)
class Point:
    """Dead around the `call`-th call of `function` (`module:name`), counted once `since` was called, if it is given.

    `since` may be LOAD. `is_elsewhere`: of several processes it is another one that makes the call of `since`.
    `first` is a point to die at before: what is reached only in taking over from a dead process.
    `load` is what happens meanwhile; see `load.LOADS`. Of several processes it is one of `role` that comes there.
    """

    function: str
    is_after: bool
    call: int = 1
    since: str = ""
    is_elsewhere: bool = False
    first: str = ""
    load: str = "usual"
    role: str = ""


def before(function: str, call: int = 1, **of: Any) -> Point:
    return Point(function, False, call, **of)


def after(function: str, call: int = 1, **of: Any) -> Point:
    return Point(function, True, call, **of)
