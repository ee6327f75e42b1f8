"""Loads about deployments that trackers ask for: their rarer ends, and what is heard from trackers and told there."""

from __future__ import annotations

from collections.abc import Callable

from tests.crash.outside import Outside
from tests.crash.places import BAD, BEACON, CI, GATE, GOOD, GROUP, NEXT, PARCEL, SLOW_VERSION
from tests.crash.trackers import (
    ASK,
    BROKEN,
    PASSED_ON,
    RACE,
    READY,
    RESOLVED,
    SHIP,
    SHIPPED,
    Expected,
    label,
    move,
    release,
    tag,
)

WELL = Expected(("succeeded",), PASSED_ON)


def cancelled(outside: Outside) -> None:
    """One is rejected by who should approve it, another stopped while its run goes on."""
    issue = label(outside, ASK, GOOD, Expected(("cancelled",), "In Progress"))
    number = outside.becomes(issue, "awaiting_approval")
    outside.say(GROUP, f"@Shipmate 拒绝 {PARCEL}#{number}", f"reject #{number}")
    outside.becomes(issue, "cancelled")
    outside.buildbot.endless.add(SLOW_VERSION)
    issue = label(outside, SHIP, SLOW_VERSION, Expected(("cancelled",), BROKEN))
    number = outside.becomes(issue, "deploying")
    outside.until(lambda: f"{PARCEL} {SLOW_VERSION}" in outside.buildbot.shipped, "the run that is to be stopped")
    outside.say(CI, f"/ship abort {PARCEL}#{number}", f"abort #{number}")
    outside.becomes(issue, "cancelled")


def expired(outside: Outside) -> None:
    """One is approved by nobody, another never confirmed."""
    outside.becomes(label(outside, ASK, GOOD, Expected(("expired",), "In Progress")), "expired")
    line = f"deploy {PARCEL} {GOOD} to {GATE}"
    outside.say(CI, f"/ship {line}", line)
    over = "SELECT count(*) FROM deployments WHERE state = 'expired'"
    outside.until(lambda: outside.record.count(over) > 1, "the end of what nobody confirms")


def superseded(outside: Outside) -> None:
    """While one is under way, another waits for its turn and gives way to a newer one."""
    outside.buildbot.endless.add(SLOW_VERSION)
    first = label(outside, RACE, SLOW_VERSION, WELL)
    outside.becomes(first, "deploying")
    second = label(outside, RACE, GOOD, Expected(("superseded",), "In Progress"))
    outside.becomes(second, "queued")
    third = label(outside, RACE, NEXT, WELL)
    outside.becomes(second, "superseded")
    outside.until(lambda: f"{BEACON} {SLOW_VERSION}" in outside.buildbot.shipped, "the first run")
    outside.buildbot.let_go()
    outside.becomes(first, "succeeded")
    outside.becomes(third, "succeeded")


def rollback_failed(outside: Outside) -> None:
    """A bad version fails, the way back fails too, people are called, and the next one is locked out."""
    outside.becomes(label(outside, SHIP, GOOD, WELL), "succeeded")
    outside.buildbot.broken.add(GOOD)
    outside.locked.add(PARCEL)
    outside.becomes(label(outside, SHIP, BAD, Expected(("failed", "rollback_failed"), BROKEN)), "rollback_failed")
    issue = label(outside, SHIP, NEXT, Expected(("cancelled",), BROKEN))
    number = outside.becomes(issue, "queued")
    outside.until(lambda: outside.asked_by(issue)[0]["outcome"] == "locked", "the lock to be found")
    outside.say(CI, f"/ship abort {PARCEL}#{number}", f"abort #{number}")
    outside.becomes(issue, "cancelled")


def jira(outside: Outside) -> None:
    """An issue reaches a status and its version is deployed; the label of another one names the version itself."""
    outside.becomes(move(outside, [GOOD], WELL), "succeeded")
    outside.becomes(label(outside, NEXT, "", WELL), "succeeded")


def refused(outside: Outside) -> None:
    """An issue without a version is told that nothing can be deployed."""
    issue = move(outside, [], Expected((), READY))
    outside.until(lambda: outside.jira.texts(issue), "the words about it")


def boards(outside: Outside) -> None:
    """A work item is tagged, and what that asks for is deployed."""
    tag(outside, SHIP, 12, Expected(("succeeded",), RESOLVED))
    outside.becomes("AB#12", "succeeded")


def polled(outside: Outside) -> None:
    """Nobody tells of an issue that reaches a status: its tracker is asked."""
    outside.until(outside.life.is_ready, "the door")
    outside.until(lambda: outside.record.count("SELECT count(*) FROM polls"), "the first poll")
    outside.becomes(move(outside, [GOOD], WELL, is_told=False), "succeeded")
    outside.life.arm()
    outside.becomes(move(outside, [NEXT], WELL, is_told=False), "succeeded")
    asked = len(outside.jira.asked())
    outside.until(lambda: outside.jira.asked().count("search/jql") > 3 and len(outside.jira.asked()) > asked, "a poll")


def released(outside: Outside) -> None:
    """A version is released, which names what is deployed; a second one follows."""
    deployed(outside, release(outside, GOOD))
    deployed(outside, release(outside, NEXT))


def released_unheard(outside: Outside) -> None:
    """Nobody tells of versions that are released: their tracker is asked, and what was released before is let be."""
    outside.until(outside.life.is_ready, "the door")
    outside.until(lambda: outside.record.count("SELECT count(*) FROM polls"), "the first poll")
    deployed(outside, release(outside, GOOD, is_told=False))
    outside.life.arm()
    deployed(outside, release(outside, NEXT, is_told=False))
    asked = outside.jira.asked().count("search/jql")
    outside.until(lambda: outside.jira.asked().count("search/jql") > asked + 1, "one more poll")


def deployed(outside: Outside, name: str) -> None:
    """Wait until what a release asked for is there."""
    outside.until(lambda: [one for one in outside.released(name) if one["state"] == "succeeded"], f"{name} deployed")


def token(outside: Outside) -> None:
    """Access tokens are good for moments, so that each call needs another one."""
    outside.jira.life_s = 61
    outside.becomes(move(outside, [GOOD], WELL), "succeeded")
    outside.until(lambda: outside.jira.reached("USER-1", SHIPPED), "what is told")
    outside.becomes(label(outside, SHIP, NEXT, WELL), "succeeded")


SHIPPING: dict[str, Callable[[Outside], None]] = {
    load.__name__: load
    for load in (
        cancelled,
        expired,
        superseded,
        rollback_failed,
        jira,
        refused,
        boards,
        polled,
        released,
        released_unheard,
        token,
    )
}
