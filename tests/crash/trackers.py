"""A Jira and an Azure Boards that outlive the bot, and those who work there: they label issues and move them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import requests

from tests.boards_server import FakeBoards
from tests.jira_server import FakeJira
from tests.loopback import Answer

if TYPE_CHECKING:
    from tests.crash.outside import Outside

READY, SHIPPED, PASSED_ON, BROKEN = "Ready for Staging", "In Staging", "Closed", "To Do"
RESOLVED = "Resolved"
RELEASED = "parcel"  # what the name of a version that is released begins with
OLD = f"{RELEASED} v0"  # was released before anybody asked
SHIP, RACE, ASK = "ship", "race", "ask"  # labels: each asks for a deployment of its kind
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expected:
    """What must have come of an issue in the end.

    `ends` are the states of its deployment that the issue was told of, in order; none where nothing is deployed.
    """

    ends: tuple[str, ...]
    status: str


class LivingJira(FakeJira):
    """A Jira whose clock goes on, and where an automation passes on whatever has reached `SHIPPED`."""

    @property
    def now(self) -> datetime:
        """This moment."""
        return datetime.now(UTC)

    @now.setter
    def now(self, _at: datetime) -> None:
        """Nothing: nobody sets it."""

    def _transit(self, key: str, body: Json) -> Answer:
        answer = super()._transit(key, body)
        if self.issues[key].status == SHIPPED:
            self.move(key, PASSED_ON)
        return answer

    @staticmethod
    def _time(at: datetime) -> str:
        return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"

    def reached(self, key: str, status: str) -> int:
        """How often an issue has come to a status."""
        items = [item for history in self.issues[key].histories for item in history["items"]]
        return sum(item["fieldId"] == "status" and item["toString"] == status for item in items)


class LivingBoards(FakeBoards):
    """An Azure Boards whose clock goes on."""

    @property
    def now(self) -> datetime:
        """This moment."""
        return datetime.now(UTC)

    @now.setter
    def now(self, _at: datetime) -> None:
        """Nothing: nobody sets it."""

    def reached(self, number: int, state: str) -> int:
        """How often a work item has come to a state."""
        told = [update["fields"].get("System.State", {}) for update in self.items[number].updates]
        return sum(one.get("newValue") == state for one in told)


def label(outside: Outside, word: str, version: str, expected: Expected) -> str:
    """Somebody makes an issue that names a version, if one is given, and labels it; its key."""
    key = _issue(outside, expected, [version] if version else [])
    _push(outside, "jira", *outside.jira.signed(outside.jira.label(key, word)))
    return key


def move(outside: Outside, versions: list[str], expected: Expected, *, is_told: bool = True) -> str:
    """Somebody makes an issue and moves it to where it is deployed; its key. Only where `is_told` a webhook comes."""
    key = _issue(outside, expected, versions)
    told = outside.jira.move(key, READY)
    if is_told:
        _push(outside, "jira", *outside.jira.signed(told))
    return key


def release(outside: Outside, version: str, *, is_told: bool = True) -> str:
    """Somebody releases a version of a project, by which one of a service is deployed; its name.

    Only where `is_told` webhooks come.
    """
    name = f"{RELEASED} {version}"
    told = outside.jira.release(name)
    with outside.lock:
        outside.releases[name] = version
    if is_told:
        _push(outside, "jira", *outside.jira.signed(told))
    return name


def tag(outside: Outside, word: str, number: int, expected: Expected) -> None:
    """Somebody tags a work item."""
    outside.boards.add(number, state="Active")
    outside.expected[f"AB#{number}"] = expected
    _push(outside, "boards", *outside.boards.sent(outside.boards.change(number, tags=word)))


def _issue(outside: Outside, expected: Expected, versions: list[str]) -> str:
    with outside.lock:
        key = f"USER-{1 + len(outside.jira.issues)}"
        outside.jira.add(key, status="In Progress", fix_versions=versions)
        outside.expected[key] = expected
    return key


def _push(outside: Outside, tracker: str, headers: dict[str, str], body: bytes) -> None:
    """A webhook comes until it is answered well, and once more long after that."""

    def push() -> bool:
        with requests.Session() as session:
            session.trust_env = False
            try:
                url = f"{outside.life.url}/webhooks/{tracker}"
                return session.post(url, data=body, headers=headers, timeout=20).ok
            except (requests.ConnectionError, requests.Timeout):
                return False

    for _ in range(2):
        outside.until(push, f"a change in {tracker} to be taken")
