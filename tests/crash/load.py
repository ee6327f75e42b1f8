"""What happens around a bot that dies: one short story a load, from the first webhook to what must have come of it."""

from __future__ import annotations

from collections.abc import Callable

from playground.client import Client
from tests.crash.buildbot import PROJECT
from tests.crash.outside import Outside, Told
from tests.crash.places import (
    BAD,
    CI,
    CROWDED,
    DOOMED,
    GOOD,
    GROUP,
    LATE,
    LIMITED,
    OTHER,
    PLACES,
    PLAIN,
    REFUSED,
    SIDE,
    SLOW,
    STORM,
)
from tests.crash.shipping import SHIPPING


def usual(outside: Outside) -> None:
    """A build fails and is retried with success, and another is run by name."""
    number = outside.fail(PROJECT)
    outside.press_retry(number)
    outside.run()
    outside.until(lambda: number in outside.buildbot.rebuilt, f"the rebuild of #{number}")


def storm(outside: Outside) -> None:
    """More builds fail at once than the place takes cards of, and one more when their digest is there."""
    for _ in range(4):
        outside.fail(STORM)
    outside.until(lambda: any("Many builds" in one["text"] for one in outside.shown(CROWDED)), "the digest")
    outside.fail(STORM)


def doomed(outside: Outside) -> None:
    """Two builds whose place refuses what is posted there."""
    for _ in range(2):
        outside.fail(DOOMED)


def robot(outside: Outside) -> None:
    """A build is told of where nothing can be changed, found or asked for: at its beginning, and at its end."""
    number = outside.buildbot.begin(PLAIN)
    outside.tell(PLAIN, number, is_over=False)
    (place,) = PLACES[PLAIN]
    outside.until(lambda: outside.card(place, PLAIN, number), "the opening post")
    outside.buildbot.end(number)
    outside.tell(PLAIN, number, is_over=True)


def group(outside: Outside) -> None:
    """In a DingTalk group somebody types a retry, and presses the next one on a card."""
    typed, pressed = outside.fail(PROJECT), outside.fail(PROJECT)
    outside.say(GROUP, f"@Shipmate 重试 {PROJECT}#{typed}", f"retry #{typed}")
    outside.press_retry(pressed, GROUP)
    outside.until(lambda: {typed, pressed} <= set(outside.buildbot.rebuilt), "the rebuilds")


def cancel(outside: Outside) -> None:
    """A running build is stopped."""
    outside.cancel()


def look(outside: Outside) -> None:
    """A build's details are opened in a window."""
    outside.look(outside.fail(PROJECT))


def wishes(outside: Outside) -> None:
    """A channel subscribes to a project's builds, sees one, and mutes them."""
    outside.wish("subscribe")
    outside.until(lambda: outside.wishes_done("subscribe"), "the subscription")
    outside.fail(SIDE, Told((OTHER,)))
    outside.wish("mute")
    outside.until(lambda: outside.wishes_done("mute"), "the end of the subscription")
    outside.unwanted.append((OTHER, SIDE, outside.fail(SIDE)))


def late(outside: Outside) -> None:
    """Slack lets no card be changed for a while, so that a final state is late and its thread says so."""
    client = Client(outside.playground.url)
    number = outside.buildbot.begin(LATE)
    outside.tell(LATE, number, is_over=False)
    outside.until(lambda: outside.card(SLOW, LATE, number), "the card")
    client.faults(REFUSED, LIMITED)
    outside.buildbot.end(number)
    outside.tell(LATE, number, is_over=True)
    outside.until(lambda: client.calls(method="chat.update"), "a change that is refused")
    outside.life.arm()
    remarks = "SELECT count(*) FROM cards WHERE slot LIKE 'thread:overdue%' AND message_ref IS NOT NULL"
    outside.until(lambda: outside.record.count(remarks), "the remark")
    client.faults(REFUSED)


def unheard(outside: Outside) -> None:
    """A build's end is never told."""
    number = outside.leave_unheard()
    outside.until(
        lambda: any(word in (outside.card(CI, PROJECT, number) or {}).get("text", "") for word in ("failed", "失败")),
        "the end that nobody told",
    )


def aged(outside: Outside) -> None:
    """All that is over becomes so old that it may go, while new builds come."""
    number = outside.fail(PROJECT)
    outside.press_retry(number)
    outside.until(lambda: is_at_rest(outside), "all work to be done")
    refs = outside.record.rows("SELECT message_ref FROM cards WHERE message_ref IS NOT NULL")
    outside.aged |= {str(row["message_ref"]) for row in refs}
    outside.record.age(40)
    outside.life.arm()
    outside.fail(PROJECT)
    old = "SELECT count(*) FROM events WHERE received_at < (SELECT max(received_at) FROM events) - 86400"
    outside.until(lambda: not outside.record.count(old), "what is old to go")
    subject = f"SELECT count(*) FROM subjects WHERE number = '{number}'"
    outside.until(lambda: not outside.record.count(subject), "the old build to go")


def deploy(outside: Outside) -> None:
    """A good version is deployed, then a bad one, which is brought back."""
    outside.deploy(GOOD, "succeeded")
    outside.deploy(BAD, "rolled_back")


LOADS: dict[str, Callable[[Outside], None]] = {
    load.__name__: load
    for load in (usual, storm, doomed, robot, group, cancel, look, wishes, late, unheard, aged, deploy)
} | SHIPPING
_UNDER_WAY = "('awaiting_approval', 'queued', 'deploying', 'verifying', 'rolling_back')"
AT_REST = (  # commands, issues and deployments make what follows: each is looked at after what makes it
    "SELECT count(*) FROM commands WHERE is_open",
    "SELECT count(*) FROM tracker_tasks WHERE is_open",
    f"SELECT count(*) FROM deployments WHERE state IN {_UNDER_WAY}",
    "SELECT count(*) FROM tracker_tasks WHERE is_open",
    "SELECT count(*) FROM jobs WHERE kind <> 'reconcile'",  # that one never ends
    "SELECT count(*) FROM cards WHERE wanted_revision > shown_revision AND NOT is_dead",
    "SELECT count(*) FROM audit WHERE hash IS NULL",
)


def is_at_rest(outside: Outside) -> bool:
    """Whether nothing is left to do."""
    return not any(map(outside.record.count, AT_REST))
