"""What must hold after any deaths, judged by what Slack, DingTalk and Buildbot saw and by what is on the record."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

from bot.services.commands import MOST_TRIES
from playground import world
from tests.crash.buildbot import PROJECT
from tests.crash.life import CI, GROUP
from tests.crash.load import ADMINS, CROWDED, DOOMED, LOST, STORM, Outside, shows

PLACES = {PROJECT: (CI, GROUP), STORM: (CROWDED,), DOOMED: (LOST,)}
AT_REST = (
    "SELECT count(*) FROM cards WHERE wanted_revision > shown_revision AND NOT is_dead",
    "SELECT count(*) FROM commands WHERE is_open",
    "SELECT count(*) FROM jobs",
    "SELECT count(*) FROM audit WHERE hash IS NULL",
)


def check(outside: Outside, *, may_give_up: bool = False) -> list[str]:
    """Wait until all work is done, end the bot, and say everything that is wrong.

    `may_give_up`: a command may have been ended in doubt, because the bot died in each of its tries.
    """
    life = outside.life
    outside.until(lambda: not any(map(life.count, AT_REST)), "all work to be done")
    given_up = _given_up(outside) if may_give_up else {}
    found = [*_commands(outside, given_up), *_cards(outside, given_up), *_messages(outside)]
    found += [*_digests(outside), *_deaths(outside)]
    life.kill()
    if not life.trail_is_whole():
        found.append("the audit trail is broken")
    return found


def _rows(outside: Outside, query: str) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(f"file:{outside.life.folder}/var/shipmate.db?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(query).fetchall()


def _shown(outside: Outside, place: str) -> list[dict[str, Any]]:
    return outside.life.playground.client.messages("dingtalk" if place == GROUP else "slack", place)


def _given_up(outside: Outside) -> dict[str, str]:
    """The ids and words of commands that ended because the bot died in each of their tries."""
    rows = _rows(outside, f"SELECT id, typed FROM commands WHERE state <> 'done' AND tries > {MOST_TRIES}")
    return {row["id"]: row["typed"] for row in rows}


def _commands(outside: Outside, given_up: dict[str, str]) -> list[str]:
    """Each acknowledged press and line was executed once, and nothing was triggered that was not asked for."""
    rows = _rows(outside, "SELECT id, typed, state FROM commands")
    ended, excused = {row["id"] for row in rows if row["state"] != "done"}, set(given_up)
    found = []
    found += [f"command {name} was not done" for name in sorted(ended - excused)]
    for number, times in Counter(outside.buildbot.rebuilt).items():
        if times != 1 or number not in outside.pressed:
            found.append(f"#{number} was rebuilt {times} times, pressed {outside.pressed.count(number)}")
    missed = set(outside.pressed) - set(outside.buildbot.rebuilt)
    if len(missed) > sum("retry" in typed for typed in given_up.values()):
        found.append(f"pressed and never rebuilt: {sorted(missed)}")
    runs = [row["id"] for row in rows if " run " in f" {row['typed']} "]
    if len(runs) < outside.runs_taken:
        found.append(f"{outside.runs_taken} runs were acknowledged, {len(runs)} are on the record")
    for name in runs:
        times = sum(f"({name})" in reason for reason in outside.buildbot.forced)
        if times != 1 and not (name in excused and times == 0):
            found.append(f"run {name} was started {times} times")
    if len(outside.buildbot.forced) > len(runs):
        found.append(f"{len(outside.buildbot.forced)} runs were started, {len(runs)} asked for")
    audited = Counter(row["command_id"] for row in _rows(outside, "SELECT * FROM audit WHERE outcome LIKE 'done:%'"))
    found += [f"command {name} is on the trail as done {times} times" for name, times in audited.items() if times != 1]
    return found


def _cards(outside: Outside, given_up: dict[str, str]) -> list[str]:
    """Each build that was told of is shown once at each of its places, in its final state."""
    found = []
    retried = {
        (PROJECT, number)
        for number in outside.buildbot.rebuilt
        if not any(shows(PROJECT, number, typed.replace("#", " #")) for typed in given_up.values())
    }
    for project, number in outside.told:
        for place in PLACES[project]:
            if place == LOST:
                continue
            shown = [one for one in _shown(outside, place) if shows(project, number, one["text"])]
            if project == STORM and not shown:  # the digest counts it and has no room for its line: see _digests
                continue
            if len(shown) != 1:
                found.append(f"{project} #{number} stands {len(shown)} times in {place}")
            elif not any(word in shown[0]["text"] for word in ("failed", "失败")):
                found.append(f"{project} #{number} is not shown as failed in {place}")
            elif (project, number) in retried and "🔁" not in shown[0]["text"]:
                found.append(f"{project} #{number} does not tell of its rebuild in {place}")
    open_ones = "is_final AND NOT shown_final AND NOT is_dead AND folded_into IS NULL AND slot = 'card'"
    rows = _rows(outside, f"SELECT * FROM cards WHERE {open_ones} OR attempt_id IS NOT NULL AND NOT is_dead")
    found += [f"the {row['slot']} of {row['subject_key']} at {row['destination']} is not settled" for row in rows]
    running = _rows(outside, "SELECT key FROM subjects WHERE NOT is_finished AND kind = 'build'")
    return found + [f"{row['key']} never ended" for row in running]


def _messages(outside: Outside) -> list[str]:
    """At each place stands exactly what the record knows to stand there."""
    found = []
    known = {
        CI: "C024CI00001",
        CROWDED: "C024DEPLOY2",
        GROUP: world.DINGTALK_GROUP,
    }
    for place, key in known.items():
        refs = _rows(outside, f"SELECT message_ref FROM cards WHERE destination LIKE '%/{key}' AND message_ref <> ''")
        shown = _shown(outside, place)
        count = sum(1 + len(one.get("thread") or ()) for one in shown if one.get("author") != "Alice")
        if count != len(refs):
            found.append(f"{count} messages stand in {place}, {len(refs)} are known")
    return found


def _digests(outside: Outside) -> list[str]:
    """Each build of the storm has a card of its own or is counted in a digest."""
    texts = [one["text"] for one in _shown(outside, CROWDED)]
    counted = [int(found[1]) for text in texts if (found := re.search(r"Many builds at once: (\d+)", text))]
    alone, told = len(texts) - len(counted), len({number for project, number in outside.told if project == STORM})
    return (
        [] if alone + sum(counted) == told else [f"{alone} and {sum(counted)} builds of the storm of {told} are shown"]
    )


def _deaths(outside: Outside) -> list[str]:
    """What cannot be posted is a dead letter, and its cause was told once."""
    doomed = sum(project == DOOMED for project, _ in outside.told)
    rows = _rows(outside, "SELECT subject_key FROM cards WHERE is_dead AND slot = 'card'")
    found = [] if len(rows) == doomed else [f"{len(rows)} cards are dead instead of {doomed}"]
    notices = len(_shown(outside, ADMINS))
    if notices != (1 if doomed else 0):
        found.append(f"the admins were told {notices} times of {doomed} dead cards")
    return found
