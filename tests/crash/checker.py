"""What must hold after any deaths, judged by what Slack, DingTalk and Buildbot saw and by what is on the record.

What is counted instead of found: a robot's post that stands twice, at most one for each death; an answer that was
given twice, because a process died after it had said something and before it had noted that; and a refresh token that
was exchanged again, because a process died before it had stored what came for it.

What is not held as a failure: a confirmation or another decision that failed because its person had given it before,
without hearing so; where rows were aged and pruned, that fewer commands are on the record than were taken, that more
runs were started than it tells of, and that messages stand whose cards it has forgotten; and a build of the storm
without a line of its own, where a digest counts it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.bootstrap import COMMAND_HANDS
from bot.domain.commands import SPECS, CommandState, Verb, begin_command, parse_reference
from playground import world
from tests.crash.buildbot import PROJECT
from tests.crash.deployments import PREFIX, went_right
from tests.crash.issues import released_right, told_right
from tests.crash.load import is_at_rest
from tests.crash.outside import Outside, Told
from tests.crash.places import (
    ADMINS,
    CI,
    CROWDED,
    DOOMED,
    GROUP,
    LOST,
    OTHER,
    PEOPLE,
    ROBOTS,
    SLOW,
    STORM,
    shows,
)

DECISIONS = (Verb.CONFIRM, Verb.APPROVE, Verb.REJECT, Verb.ABORT)
MOST_IN_HAND = COMMAND_HANDS.size + COMMAND_HANDS.bench  # commands that one process answers at a time
STARTED = re.compile(r"(?:Started build|已启动构建) ?\S*?#(\d+)")
Json = dict[str, Any]


@dataclass
class Verdict:
    """What is wrong, and what was counted."""

    found: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def check(outside: Outside) -> Verdict:
    """Wait until all work is done, end the bot, and say everything that is wrong."""
    outside.until(lambda: is_at_rest(outside), "all work to be done")
    verdict = Verdict()
    for part in PARTS:
        verdict.found += part(outside, verdict.counts)
    outside.life.stop()
    if not outside.record.trail_is_whole():
        verdict.found.append("the audit trail is broken")
    verdict.counts.update(
        {
            "deaths": outside.life.deaths,
            "events": outside.answered,
            "cards": outside.record.count("SELECT count(*) FROM cards WHERE message_ref IS NOT NULL"),
            "commands": outside.taken.total(),
        }
    )
    return verdict


# --- commands


def _commands(outside: Outside, counts: Counter[str]) -> Iterator[str]:
    """What people were told had arrived is on the record, and all of it was done."""
    rows = outside.record.rows("SELECT id, typed, state, tries FROM commands")
    for row in rows:
        if row["state"] != CommandState.DONE and not _was_done_before(row, rows):
            yield f"command {row['id']} ({row['typed']}) ended {row['state']} after {row['tries']} tries"
    known = Counter(_aim(row["typed"]) for row in rows)
    if not outside.aged:
        for name, times in outside.taken.items():
            if name != "look" and known[name] < times:
                yield f"{name} was taken {times} times and is on the record {known[name]} times"
    counts["most tries"] = max((row["tries"] for row in rows), default=0)


def _was_done_before(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether it is a decision on a deployment that its person repeated, for its first time was not acknowledged."""
    line = begin_command(row["typed"])
    decides = line is not None and line.verb in DECISIONS and row["state"] == CommandState.FAILED
    return decides and any((one["typed"], one["state"]) == (row["typed"], CommandState.DONE) for one in rows)


def _aim(typed: str) -> str:
    """A command as the load names it."""
    line = begin_command(typed)
    assert line is not None
    words = " ".join(line.arguments)
    return f"{line.verb} #{parse_reference(words).number}" if "#" in words else f"{line.verb} {words}"


def _triggers(outside: Outside, _counts: Counter[str]) -> Iterator[str]:
    """Buildbot was asked once for each build that somebody asked for, and for nothing else."""
    buildbot, pressed = outside.buildbot, outside.pressed
    for number, times in Counter(buildbot.rebuilt).items():
        if times != 1 or number not in pressed:
            yield f"#{number} was rebuilt {times} times, and {'' if number in pressed else 'not '}asked for"
    if missed := pressed - set(buildbot.rebuilt):
        yield f"retried and never rebuilt: {sorted(missed)}"
    for number, times in Counter(buildbot.stopped).items():
        if times != 1 or f"cancel #{number}" not in outside.taken:
            yield f"#{number} was stopped {times} times"
    runs = [row["id"] for row in outside.record.rows("SELECT * FROM commands") if _aim(row["typed"])[:4] == "run "]
    for name in runs:
        times = sum(f"({name})" in reason for reason in buildbot.forced)
        if times != 1:
            yield f"run {name} was started {times} times"
    if len(buildbot.forced) > len(runs) and not outside.aged:
        yield f"{len(buildbot.forced)} runs were started, {len(runs)} asked for"


def _answers(outside: Outside, counts: Counter[str]) -> Iterator[str]:
    """Whose build was started was told so; twice only where a process died in between."""
    told = Counter(found[1] for text in _said(outside) if (found := STARTED.search(text)))
    for row in outside.record.rows("SELECT id, result FROM commands"):
        result = row["result"] if isinstance(row["result"], dict) else json.loads(row["result"])
        if "build" in result and not told[str(result["build"]).rpartition("#")[2]]:
            yield f"nobody was told of {result['build']}, which command {row['id']} started"
    again = told.total() - len(told)
    counts["answers given twice"] += again
    if again > MOST_IN_HAND * outside.life.deaths:
        yield f"{again} answers were given again, after {outside.life.deaths} deaths"


def _said(outside: Outside) -> list[str]:
    """All that was said to people, rather than shown."""
    whispers = outside.playground.state(platform="slack")["platforms"]["slack"]["ephemeral"]
    return [one["text"] for one in (*whispers, *outside.shown(GROUP)) if not _is_card(one)]


def _trail(outside: Outside, _counts: Counter[str]) -> Iterator[str]:
    """What changed something is on the trail as done, once."""
    rows = outside.record.rows("SELECT command_id, verb, target, outcome FROM audit")
    ends = Counter(row["command_id"] for row in rows if row["outcome"].partition(":")[0] in ("done", "already_ended"))
    yield from (f"command {name} is on the trail as done {times} times" for name, times in ends.items() if times != 1)
    deployments = [row for row in rows if row["target"].startswith(PREFIX)]
    decided = {row["command_id"] for row in deployments}
    already = {row["command_id"] for row in rows if row["outcome"].startswith(("duplicate:", "unchanged"))}
    commands = outside.record.rows("SELECT id, typed, state FROM commands")
    for row in commands:
        line = begin_command(row["typed"])
        if _was_done_before(row, commands):
            continue
        if line is not None and SPECS[line.verb].changes and row["id"] not in (ends.keys() | already | decided):
            yield f"command {row['id']} ({row['typed']}, {row['state']}) has no end on the trail"


def _wishes(outside: Outside, _counts: Counter[str]) -> Iterator[str]:
    """What a channel wants is what was last said there: an earlier wish that was taken up later changes nothing."""
    done = "commands JOIN audit ON command_id = id WHERE verb IN ('subscribe', 'mute') AND outcome = 'done'"
    last = outside.record.rows(f"SELECT verb FROM {done} ORDER BY accepted_at DESC LIMIT 1")
    kept = outside.record.rows("SELECT is_mute FROM subscriptions")
    if [bool(row["is_mute"]) for row in kept] != [row["verb"] == "mute" for row in last]:
        yield f"the wishes kept are {kept}, the last one said is {last}"


# --- what is shown


def _builds(outside: Outside, _counts: Counter[str]) -> Iterator[str]:
    """Each build that was told of is shown once at each of its places, in its final state."""
    for (project, number), told in outside.told.items():
        for place in told.places:
            if place not in (LOST, ROBOTS):
                yield from _build(outside, project, number, place, told)
    for place, project, number in outside.unwanted:
        if outside.card(place, project, number) is not None:
            yield f"{project} #{number} is shown in {place}, where nobody wants it"
    open_ones = "is_final AND NOT shown_final AND NOT is_dead AND folded_into IS NULL AND slot = 'card'"
    for row in outside.record.rows(f"SELECT * FROM cards WHERE {open_ones} OR attempt_id IS NOT NULL AND NOT is_dead"):
        yield f"the {row['slot']} of {row['subject_key']} at {row['destination']} is not settled"
    for row in outside.record.rows("SELECT key FROM subjects WHERE NOT is_finished AND kind = 'build'"):
        yield f"{row['key']} never ended"


def _build(outside: Outside, project: str, number: int, place: str, told: Told) -> Iterator[str]:
    shown = [one for one in outside.shown(place) if shows(project, number, one["text"]) and _is_told_of(place, one)]
    if project == STORM and not shown:  # the digest counts it and has no room for its line: see _digests
        return
    if len(shown) != 1:
        yield f"{project} #{number} stands {len(shown)} times in {place}"
    elif not any(word in shown[0]["text"] for word in told.words):
        yield f"{project} #{number} is not shown as {told.words[0]} in {place}"
    elif project == PROJECT and number in outside.buildbot.rebuilt and "🔁" not in shown[0]["text"]:
        yield f"{project} #{number} does not tell of its rebuild in {place}"


def _is_told_of(place: str, one: Json) -> bool:
    """Whether a message shows something, rather than that a person says it or is answered."""
    return one["author"] not in PEOPLE and (place != GROUP or _is_card(one))


def _is_card(one: Json) -> bool:
    return bool(one["payload"].get("msgtype") == "card")


def _robots(outside: Outside, counts: Counter[str]) -> Iterator[str]:
    """Where nothing can be asked, the end of each build stands there, and what stands twice is counted."""
    texts = [one["text"] for one in outside.shown(ROBOTS)]
    again = 0
    for (project, number), told in outside.told.items():
        if ROBOTS not in told.places:
            continue
        own = [text for text in texts if shows(project, number, text)]
        ends = [text for text in own if any(word in text for word in told.words)]
        if not ends:
            yield f"{project} #{number} is not shown as {told.words[0]} in {ROBOTS}"
        again += max(0, len(ends) - 1) + max(0, len(own) - len(ends) - 1)
    counts["posts that stand twice at a robot"] += again
    if again > outside.life.deaths:
        yield f"{again} posts were made again in {ROBOTS}, after {outside.life.deaths} deaths"


def _messages(outside: Outside, _counts: Counter[str]) -> Iterator[str]:
    """At each place stands exactly what the record knows to stand there."""
    keys = {CI: "C024CI00001", CROWDED: "C024DEPLOY2", GROUP: world.DINGTALK_GROUP}
    places = outside.playground.state(platform="slack")["platforms"]["slack"]["channels"]
    keys |= {name: places[name]["id"] for name in (OTHER, SLOW, ADMINS)}
    for place, key in keys.items():
        rows = outside.record.rows(
            f"SELECT message_ref FROM cards WHERE destination LIKE '%/{key}' AND message_ref <> ''"
        )
        refs = {row["message_ref"] for row in rows} | {ref for ref in outside.aged if _stands_in(ref, key, place)}
        shown = [one for one in outside.shown(place) if _is_told_of(place, one)]
        count = sum(1 + len(one.get("thread") or ()) for one in shown)
        if count != len(refs) or len(rows) > len(refs):
            yield f"{count} messages stand in {place}, {len(refs)} are known by {len(rows)} cards"


def _stands_in(ref: str, key: str, place: str) -> bool:
    """Whether a message stood in a place; DingTalk's do not name theirs, of which there is one."""
    return ref.startswith(f"{key}/") or (place == GROUP and ref.startswith("ship-"))


def _digests(outside: Outside, counts: Counter[str]) -> Iterator[str]:
    """Each build of the storm has a card of its own or is counted in a digest."""
    texts = [one["text"] for one in outside.shown(CROWDED)]
    counted = [int(found[1]) for text in texts if (found := re.search(r"Many builds at once: (\d+)", text))]
    alone, told = len(texts) - len(counted), sum(project == STORM for project, _ in outside.told)
    counts["digests"] += len(counted)
    if alone + sum(counted) != told:
        yield f"{alone} and {sum(counted)} builds of the storm of {told} are shown"


def _letters(outside: Outside, counts: Counter[str]) -> Iterator[str]:
    """What cannot be posted is a dead letter, and its cause was told once."""
    doomed = sum(project == DOOMED for project, _ in outside.told)
    rows = outside.record.rows("SELECT subject_key FROM cards WHERE is_dead AND slot = 'card'")
    counts["dead letters"] += len(rows)
    if len(rows) != doomed:
        yield f"{len(rows)} cards are dead instead of {doomed}"
    notices = len(outside.shown(ADMINS))
    if notices != (1 if doomed else 0):
        yield f"the admins were told {notices} times of {doomed} dead cards"


PARTS = (
    _commands,
    _triggers,
    _answers,
    _trail,
    went_right,
    told_right,
    released_right,
    _builds,
    _robots,
    _messages,
    _digests,
    _letters,
    _wishes,
)
