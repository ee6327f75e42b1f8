"""What must hold of deployments after any deaths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from tests.crash.outside import Outside
from tests.crash.places import CI, GREETER, GROUP, ROBOTS

PREFIX = "deployment:shipmate/"
_BEGUN = ["queued", "deploying", "verifying"]
_ASKED = ["requested", "awaiting_approval", *_BEGUN]
WAYS = (  # of what people ask for and confirm
    ["requested"],  # somebody repeated what was not acknowledged, and confirmed one of the two
    [*_ASKED, "succeeded"],
    [*_ASKED, "failed", "rolling_back", "rolled_back"],
    [*_BEGUN, "succeeded"],
)
RARER_WAYS = (  # of what issues ask for; what is asked of one that goes on, and a reminder, are no steps
    ["requested", *_BEGUN, "succeeded"],
    ["requested", *_BEGUN, "failed", "rolling_back", "rollback_failed"],
    ["queued", "deploying", "failed"],
    ["requested", "queued", "cancelled"],
    ["requested", "queued", "deploying", "cancelled"],
    ["requested", "queued", "superseded"],
    ["requested", "awaiting_approval", "cancelled"],
    ["requested", "awaiting_approval", "expired"],
    ["requested", "expired"],
)
SHOWN = {
    "succeeded": ("deployed", "已部署"),
    "failed": ("failed", "失败"),
    "rolled_back": ("rolled back", "已回滚"),
    "rollback_failed": ("rollback failed", "回滚失败"),
    "cancelled": ("cancelled", "已取消"),
    "expired": ("expired", "已过期"),
    "superseded": ("superseded", "已被取代"),
}


def went_right(outside: Outside, counts: Counter[str]) -> Iterator[str]:
    """Each deployment went a way that there is, each step of it once; its run was ordered once, and it is shown so."""
    ways: dict[str, list[str]] = {}
    for row in outside.record.rows("SELECT target, outcome FROM audit ORDER BY seq"):
        name, _, what = row["target"].partition(" ")
        if name.startswith(PREFIX) and not row["outcome"].startswith("conflict:"):
            version, state = what.partition(" ")[0], row["outcome"].partition(":")[0]
            ways.setdefault(f"{name.removeprefix(PREFIX)} {version}", []).append(state)
    yield from _orders(outside, ways)
    for name, told in ways.items():
        steps = _without_lost_orders(told)
        short, is_shipped = name.partition(" ")[0], not name.startswith(f"{GREETER}#")
        way = [state for state, _ in groupby(steps)] if is_shipped else steps
        if way not in (RARER_WAYS if is_shipped else WAYS):
            yield f"{name} went {', '.join(way)}"
        elif outside.state(int(short.partition("#")[2])) != way[-1]:
            yield f"{name} is not {way[-1]}"
        elif way not in (["requested"], ["requested", "expired"]):
            yield from _shown(outside, short, way[-1])
            if is_shipped:
                yield from _posted(outside, short, way[-1], counts)
    counts["deployments"] += sum(len(way) > 1 for way in ways.values())
    both = "SELECT service FROM locks UNION SELECT service FROM rollback_locks"
    locked = {row["service"] for row in outside.record.rows(both)}
    if locked != outside.locked:
        yield f"locked are {sorted(locked)} instead of {sorted(outside.locked)}"


def _without_lost_orders(steps: list[str]) -> list[str]:
    """The steps as if each order had been made at once: one that came to nothing is queued, and begins anew."""
    kept: list[str] = []
    for state in steps:
        if state == "deploying" and kept[-2:] == ["deploying", "queued"]:
            del kept[-2:]
        kept.append(state)
    return kept


def _orders(outside: Outside, ways: dict[str, list[str]]) -> Iterator[str]:
    begun = [name.partition("#")[0] + " " + name.partition(" ")[2] for name, way in ways.items() if "deploying" in way]
    ordered = [*(f"{GREETER} {version}" for version in outside.buildbot.deployed), *outside.buildbot.shipped]
    if Counter(begun) != Counter(ordered):
        yield f"deployed were {ordered}, on the trail are {begun}"
    for number, times in Counter(outside.buildbot.halted).items():
        if times != 1:
            yield f"the run #{number} was stopped {times} times"


def _shown(outside: Outside, name: str, state: str) -> Iterator[str]:
    for place in (CI, GROUP):
        messages = outside.shown(place)
        cards = [one for one in messages if f"{name} · " in one["text"]]
        if len(cards) != 1:
            yield f"{name} stands {len(cards)} times in {place}"
            continue
        if not _tells(cards[0]["text"], state):
            yield f"{name} is not shown as {state} in {place}"
        remarks = cards[0].get("thread") or [one for one in messages if f"{name} v" in one["text"]]
        calls = sum(_tells(one["text"], state) for one in remarks)
        if state == "rollback_failed" and calls != 1:
            yield f"{place} was called {calls} times for {name}"


def _posted(outside: Outside, name: str, state: str, counts: Counter[str]) -> Iterator[str]:
    """Where nothing can be changed or asked for, its end stands once, or once more for a death."""
    posts = [one["text"] for one in outside.shown(ROBOTS) if f"{name} · " in one["text"]]
    ends = sum(_tells(text, state) for text in posts)
    again = max(0, ends - 1) + max(0, len(posts) - ends - 1)
    counts["posts that stand twice at a robot"] += again
    if not ends:
        yield f"{name} is not shown as {state} in {ROBOTS}"
    if again > outside.life.deaths:
        yield f"{name} stands {len(posts)} times in {ROBOTS}, after {outside.life.deaths} deaths"


def _tells(text: str, state: str) -> bool:
    """Whether a message's first line says how it ended."""
    return any(word in text.partition("\n")[0] for word in SHOWN[state])
