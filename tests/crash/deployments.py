"""What must hold of deployments after any deaths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.crash.outside import Outside
from tests.crash.places import CI, GREETER, GROUP

_BEGUN = ["queued", "deploying", "verifying"]
_ASKED = ["requested", "awaiting_approval", *_BEGUN]
WAYS = (
    ["requested"],  # somebody repeated what was not acknowledged, and confirmed one of the two
    [*_ASKED, "succeeded"],
    [*_ASKED, "failed", "rolling_back", "rolled_back"],
    [*_BEGUN, "succeeded"],
)
SHOWN = {"succeeded": ("deployed", "已部署"), "rolled_back": ("rolled back", "已回滚")}


def went_right(outside: Outside, counts: Counter[str]) -> Iterator[str]:
    """Each deployment went a way that there is, each step of it once; its run was ordered once, and it is shown so."""
    ways: dict[str, list[str]] = {}
    for row in outside.record.rows("SELECT target, outcome FROM audit ORDER BY seq"):
        name, _, what = row["target"].partition(" ")
        if name.startswith(f"deployment:shipmate/{GREETER}#"):
            version, state = what.partition(" ")[0], row["outcome"].partition(":")[0]
            ways.setdefault(f"{name.partition('/')[2]} {version}", []).append(state)
    ordered = Counter(name.partition(" ")[2] for name, way in ways.items() if "deploying" in way)
    if ordered != Counter(outside.buildbot.deployed):
        yield f"deployed were {outside.buildbot.deployed}, on the trail are {dict(ordered)}"
    for name, way in ways.items():
        if way not in WAYS:
            yield f"{name} went {', '.join(way)}"
        elif len(way) > 1:
            yield from _deployment(outside, name.partition(" ")[0], way[-1])
    counts["deployments"] += sum(len(way) > 1 for way in ways.values())


def _deployment(outside: Outside, name: str, state: str) -> Iterator[str]:
    for place in (CI, GROUP):
        cards = [one["text"] for one in outside.shown(place) if f"{name} · " in one["text"]]
        if len(cards) != 1:
            yield f"{name} stands {len(cards)} times in {place}"
        elif not any(word in cards[0] for word in SHOWN[state]):
            yield f"{name} is not shown as {state} in {place}"
