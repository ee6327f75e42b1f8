"""What must hold of issues and work items after any deaths."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.crash.outside import Outside
from tests.crash.trackers import BROKEN, OLD, PASSED_ON, RESOLVED, SHIPPED, Expected

ONCE = {PASSED_ON: SHIPPED, BROKEN: BROKEN, RESOLVED: RESOLVED}  # what was moved to where, by where it is in the end
KNOWN = "(kind = 'version_released' AND outcome = '')"  # was released before anybody asked: nothing is to be done
Json = dict[str, Any]


def told_right(outside: Outside, counts: Counter[str]) -> Iterator[str]:
    """What each issue asked for was done once; it is told so once, moved once, and linked to how that ended."""
    trail = [row["target"] for row in outside.record.rows("SELECT target FROM audit WHERE verb = 'trigger'")]
    states = {row["number"]: row["state"] for row in outside.record.rows("SELECT number, state FROM deployments")}
    for key, expected in outside.expected.items():
        fired = sum(target.startswith(f"{key} → ") for target in trail)
        if fired != 1:
            yield f"{key} fired {fired} times"
        asked = outside.asked_by(key)
        if [one["state"] for one in asked] != list(expected.ends[-1:]):
            yield f"{key} asked for {[one['state'] for one in asked]} instead of {expected.ends[-1:]}"
        elif key.startswith("AB#"):
            yield from _item(outside, int(key.removeprefix("AB#")), asked, expected)
        else:
            yield from _issue(outside, key, asked, expected)
            yield from _links(outside, key, states)
            yield from _records(outside, key, asked)
    for row in outside.record.rows(f"SELECT key, outcome FROM tracker_tasks WHERE kind <> 'origin' AND NOT {KNOWN}"):
        if not row["outcome"].startswith("done"):
            yield f"{row['key']} ended {row['outcome']}"
    counts["refresh tokens exchanged twice"] += outside.jira.reused
    if outside.jira.reused > outside.life.deaths:
        yield f"refresh tokens were exchanged twice {outside.jira.reused} times, after {outside.life.deaths} deaths"


def released_right(outside: Outside, counts: Counter[str]) -> Iterator[str]:
    """Each version that was released is deployed once, and what was released before anybody asked is not."""
    trail = [row["target"] for row in outside.record.rows("SELECT target FROM audit WHERE verb = 'trigger'")]
    for name, version in outside.releases.items():
        ends = [(one["version"]["name"], one["state"]) for one in outside.released(name)]
        fired = sum(target.startswith(f"{name} → ") for target in trail)
        if (fired, ends) != (1, [(version, "succeeded")]):
            yield f"the release of {name} fired {fired} times, and came to {ends}"
        counts["versions released"] += 1
    if outside.released(OLD):
        yield f"{OLD} was deployed, which was released before"


def _issue(outside: Outside, key: str, asked: list[Json], expected: Expected) -> Iterator[str]:
    issue, texts = outside.jira.issues[key], outside.jira.texts(key)
    yield from _comments(key, texts, asked, expected)
    if issue.status != expected.status:
        yield f"{key} is in {issue.status} instead of {expected.status}"
    once = ONCE.get(expected.status, "")
    if once and (times := outside.jira.reached(key, once)) != 1:
        yield f"{key} came to {once} {times} times"
    for one in asked:
        name = one["version"]["name"]
        if one["state"] == "succeeded" and issue.fix_versions.count(name) != 1:
            yield f"{key} is in {issue.fix_versions} instead of {name}"


def _records(outside: Outside, key: str, asked: list[Json]) -> Iterator[str]:
    """Where deployments are shown at issues, the last word on each is its end; the highest revision is Jira's last."""
    for one in asked if outside.jira.deployments else ():
        rows = [row for row in outside.jira.deployments if row["deploymentSequenceNumber"] == one["number"]]
        last = max(rows, key=lambda row: int(row["updateSequenceNumber"]), default=None)
        shown = last["state"] if last is not None else "nothing"
        if (shown, one["state"]) != ("successful", "succeeded"):
            yield f"{key} shows {one['number']} as {shown}, which is {one['state']}"


def _item(outside: Outside, number: int, asked: list[Json], expected: Expected) -> Iterator[str]:
    item = outside.boards.items[number]
    yield from _comments(f"AB#{number}", [one["text"] for one in item.comments], asked, expected)
    if item.fields["System.State"] != expected.status or outside.boards.reached(number, expected.status) != 1:
        yield f"AB#{number} is {item.fields['System.State']} and should have come to {expected.status} once"
    links = [one["attributes"]["comment"] for one in item.relations if one["rel"] == "Hyperlink"]
    if len(links) != 1 or not links[0].endswith(expected.ends[-1]):
        yield f"AB#{number} is linked as {links}"


def _comments(key: str, texts: list[str], asked: list[Json], expected: Expected) -> Iterator[str]:
    """One comment for each end, or one that says why nothing was done."""
    wanted = [f"Shipmate {one['service']}#{one['number']} {end} " for one in asked for end in expected.ends]
    for marker in wanted or ["Shipmate trigger "]:
        if (times := sum(marker in text for text in texts)) != 1:
            yield f"{key} is told {times} times: {marker}"
    if len(texts) != max(1, len(wanted)):
        yield f"{key} has {len(texts)} comments"


def _links(outside: Outside, key: str, states: dict[int, str]) -> Iterator[str]:
    """Each deployment of an issue that began is linked, as it is in the end."""
    linked = {}
    for name, link in outside.jira.issues[key].remote_links.items():
        found = re.search(r"#(\d+)@", name)
        linked[int(found[1]) if found else 0] = link["object"]["summary"].replace(" ", "_")
    began = [one["number"] for one in outside.deployments() if key in one["issues"] and (one["run"] or {}).get("url")]
    if linked != {number: states[number] for number in began}:
        yield f"{key} is linked as {linked}, and {[(number, states[number]) for number in began]}"
