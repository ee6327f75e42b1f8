"""`shipmate deliveries` and `shipmate dead`, over a database that another process uses, on both engines."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from bot.cli import cli
from bot.domain.audit import AuditEntry
from bot.domain.builds import BuildStatus
from bot.domain.places import DestinationSettings
from bot.domain.routing import Match, Route
from bot.errors import DestinationGone, Rejected, Unavailable
from bot.ports import Transaction
from bot.services.operator import BATCH
from tests.services.world import CI, World
from tests.stores import SqlStore, event_of, key_of

ENVIRONMENT = {"SLACK_BOT_TOKEN": "xoxb-not-a-real-token", "SLACK_APP_TOKEN": "xapp-not-a-real-token"}
CONFIG: dict[str, Any] = {
    "platforms": {"slack": {"bot_token": "${SLACK_BOT_TOKEN}", "app_token": "${SLACK_APP_TOKEN}"}},
    "destinations": {"ci": {"slack": "#ci"}, "dev": {"slack": "#dev"}},
}
PLACES = {"ci": DestinationSettings("ci", "slack:#ci"), "dev": DestinationSettings("dev", "slack:#dev")}
DEV = "slack:T/dev"
OPERATOR = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
Run = Callable[..., Result]


@pytest.fixture
def world(store: SqlStore, database: Engine) -> World:
    """Services over the same database, whose builds go to two places."""
    return World(store, database, destinations=PLACES, routes=[Route("routes[0]", Match(), ("ci", "dev"))])


@pytest.fixture
def run(tmp_path: Path, database: Engine) -> Run:
    """Runs a command beside the services, with a connection of its own; it must end well unless `fails`."""
    path = tmp_path / "shipmate.yaml"
    url = database.url.render_as_string(hide_password=False)
    path.write_text(yaml.safe_dump(CONFIG | {"database_url": url}), encoding="utf-8")

    def run_one(*words: str, fails: bool = False) -> Result:
        environment = {**ENVIRONMENT, "SHIPMATE_CONFIG": str(path), "LOGNAME": "somebody-else"}
        result = CliRunner(env=environment).invoke(cli, words)
        assert (result.exit_code != 0) is fails, result.output
        return result

    return run_one


def _bury(world: World, *numbers: int, place: str = CI, error: Exception | None = None) -> list[int]:
    """Builds whose cards are refused at a place, and the numbers of these deliveries."""
    for number in numbers:
        world.messenger.fail(place, error or DestinationGone("slack", "not_in_channel"))
        world.accept(event_of(number))
        world.deliver(5)
    return [world.card(number, place).id for number in numbers]


def _json(result: Result) -> Any:
    return json.loads(result.output)


def test_dead_letters_are_listed_in_a_table(world: World, run: Run) -> None:
    """The newest first: number, place, build, slot, revisions, when, the reason, and what it means."""
    first, second = _bury(world, 1, 2)
    lines = run("dead", "list").output.splitlines()
    assert lines[0].split() == ["ID", "PLACE", "SUBJECT", "SLOT", "SHOWN", "DIED", "/", "NEXT", "TRY", "REASON"]
    assert lines[1].split()[:5] == [str(second), "#ci", "user-service#2", "card", "0/1"]
    assert lines[1].endswith("dead:not_in_channel")
    assert lines[2].strip() == "given up: Shipmate is not a member of the channel"
    assert lines[3].split()[0] == str(first)
    assert len(lines) == 5


def test_dead_letters_are_listed_for_programs(world: World, run: Run) -> None:
    """One document, filtered by reason and place, that says whether it is complete."""
    first, second = _bury(world, 1, 2)
    (third,) = _bury(world, 3, place=DEV, error=Rejected("slack", "restricted_action"))
    everything = _json(run("dead", "list", "--json"))
    assert everything["is_complete"] is True
    assert [one["id"] for one in everything["deliveries"]] == [third, second, first]
    found = everything["deliveries"][0]
    assert (found["subject"], found["slot"], found["destination"]) == (str(key_of(3)), "card", DEV)
    assert (found["state"], found["reason"], found["next_try_at"]) == ("dead", "dead:restricted_action", None)
    assert found["cause"] == "The channel does not let Shipmate post."
    assert found["advice"].endswith("then replay.")
    for words in (
        ("--reason", "restricted_action"),
        ("--reason", "dead:restricted_action"),
        ("--destination", "dev"),
        ("--destination", DEV),
        ("--destination", "#dev"),
    ):
        assert [one["id"] for one in _json(run("dead", "list", "--json", *words))["deliveries"]] == [third]
    limited = _json(run("dead", "list", "--json", "--limit", "1"))
    assert ([one["id"] for one in limited["deliveries"]], limited["is_complete"]) == ([third], False)
    assert "… and more: --limit 4" in run("dead", "list", "--limit", "1").output


def test_a_dead_letter_is_shown_with_its_attempts(world: World, run: Run) -> None:
    """What the platform said, what that means, and what to do."""
    world.messenger.fail(CI, Unavailable("slack", "unreachable"))
    (card,) = _bury(world, 1, error=Rejected("slack", "other", "some_new_error"))
    shown = run("dead", "show", str(card)).output
    assert f"place:       #ci ({CI})" in shown
    assert "reason:      dead:other" in shown
    assert "cause:       The platform refuses the post as it is." in shown
    assert "what to do:  See the platform's own words" in shown
    assert f"shipmate dead replay {card}" in shown
    assert "failed:unreachable" in shown
    assert "some_new_error" in shown
    document = _json(run("dead", "show", str(card), "--json"))
    assert [one["outcome"] for one in document["attempts"]] == ["failed:unreachable", "dead:other"]
    assert document["attempts"][1]["detail"] == "some_new_error"


def test_names_from_outside_move_no_cursor(world: World, run: Run) -> None:
    """A build of the generic door is called what its sender likes: a sequence that a terminal obeys, for one."""
    world.messenger.fail(CI, DestinationGone("slack", "not_in_channel"))
    key = key_of(1, project="\x9b2Jshop\u202e")
    world.accept(event_of(1, project=key.project))
    world.deliver(5)
    (card,) = [one["id"] for one in _json(run("dead", "list", "--json"))["deliveries"]]
    for words in (("list",), ("show", str(card)), ("replay", str(card))):
        said = run("dead", *words).output
        assert " 2Jshop #1" in said
        assert said.replace("\n", "").isprintable()


def test_a_replayed_card_is_shown_with_its_newest_state(world: World, run: Run) -> None:
    """It is wanted again, its worker hears of it, and the trail names who did it."""
    first, second = _bury(world, 1, 2)
    world.accept(event_of(1, BuildStatus.SUCCESS, at=9, started=0))
    said = run("dead", "replay", str(first)).output
    assert said.splitlines()[-1] == "replayed: 1"
    assert f"replayed {first}: user-service#1 (card) → #ci, was dead:not_in_channel" in said
    world.deliver(5)
    assert world.messenger.standing(CI) == ["user-service #1 · succeeded"]
    assert world.card(1).reason == "sent"
    assert world.card(2).is_dead
    target = f"{key_of(1)} card → {CI}"
    assert world.trail() == [(OPERATOR, "replay", target, "done")]
    assert [one["id"] for one in _json(run("dead", "list", "--json"))["deliveries"]] == [second]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--all",), {1, 2, 3}),
        (("--reason", "not_in_channel"), {1, 2}),
        (("--destination", "dev"), {3}),
        (("--reason", "not_in_channel", "--destination", "dev"), set()),
    ],
)
def test_many_are_replayed_by_what_they_have_in_common(
    words: tuple[str, ...], expected: set[int], world: World, run: Run
) -> None:
    """All, those of a reason, those of a place, or both."""
    dead = dict(zip(_bury(world, 1, 2), (1, 2), strict=True))
    dead |= dict(zip(_bury(world, 3, place=DEV, error=Rejected("slack", "restricted_action")), (3,), strict=True))
    done = _json(run("dead", "replay", "--json", *words))["replayed"]
    assert {dead[one["id"]] for one in done} == expected
    assert len(world.trail()) == len(expected)


def test_a_card_takes_its_remarks_along(world: World, run: Run) -> None:
    """What was given up because of the card comes back with it."""
    world.messenger.fail(CI, *[DestinationGone("slack", "not_in_channel")] * 2)
    world.accept(event_of(1, BuildStatus.FAILED))
    world.deliver(30)
    assert world.card(1, slot="notice").reason == "dead:no_card"
    world.messenger.fails.clear()
    done = _json(run("dead", "replay", "--json", str(world.card(1).id)))["replayed"]
    assert {one["slot"] for one in done} == {"card", "notice"}
    world.deliver(30)
    assert len(world.messenger.standing(CI)) == 2


def test_a_dropped_letter_is_let_go(world: World, run: Run) -> None:
    """It is off the list, nothing is posted, and `explain` says why."""
    (card,) = _bury(world, 1)
    assert "dropped: 1" in run("dead", "drop", str(card)).output
    assert run("dead", "list").output == "nothing was given up\n"
    world.deliver(60)
    assert world.operations() == []
    assert world.card(1).reason == "dropped"
    assert world.trail() == [(OPERATOR, "drop", f"{key_of(1)} card → {CI}", "done")]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("dead", "show", "99999"), "there is no delivery 99999"),
        (("dead", "replay", "99999", "88888"), "there is no delivery 88888, 99999"),
        (("dead", "drop", "99999"), "there is no delivery 99999"),
        (("dead", "replay"), "name numbers, or one of --all"),
        (("dead", "replay", "1", "--all"), "name numbers, or one of --all"),
        (("dead", "drop"), "Missing argument"),
        (("dead", "show", "user-service#1"), "is not a valid integer"),
        (("dead", "show", "9223372036854775808"), "is not in the range"),
        (("dead", "show", "9223372036854775807"), "there is no delivery 9223372036854775807"),
        (("dead", "drop", "9223372036854775808"), "is not in the range"),
        (("dead", "list", "--destination", "nowhere"), "'nowhere' is no destination: of ci, dev"),
        (("deliveries", "--subject", "user-service#77"), "no build user-service#77 is known here"),
        (("deliveries", "--subject", "user-service"), "'user-service' is no build: name one like user-service#12"),
    ],
)
def test_what_is_not_there_is_said(words: tuple[str, ...], complaint: str, world: World, run: Run) -> None:
    """In one line without a traceback, with the status of wrong input, and nothing is changed."""
    _bury(world, 1)
    result = run(*words, fails=True)
    assert complaint in result.output
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert world.trail() == []


def test_one_wrong_number_stops_the_whole(world: World, run: Run) -> None:
    """Of several letters none is replayed when one of them is none."""
    (card,) = _bury(world, 1)
    alive = world.card(1, DEV).id
    complaint = run("dead", "replay", str(card), str(alive), fails=True).output
    assert f"{alive} was not given up: sent" in complaint
    assert world.card(1).is_dead
    assert world.trail() == []


def test_what_waits_is_listed_by_its_next_try(world: World, run: Run) -> None:
    """Why it waits, and when it is tried next; what is shown or dead is not among it."""
    assert run("deliveries").output == "nothing waits\n"
    _bury(world, 1)
    world.messenger.fail(CI, *[Unavailable("slack", "unreachable")] * 9)
    world.accept(event_of(2))
    world.deliver(5)
    (waiting,) = _json(run("deliveries", "--json"))["deliveries"]
    assert (waiting["name"], waiting["place"], waiting["state"]) == ("user-service#2", "#ci", "waiting")
    assert waiting["reason"] == "failed:unreachable"
    assert waiting["next_try_at"] > world.clock.now().timestamp()
    assert "the last try failed: The platform could not be reached" in run("deliveries").output


def test_a_place_that_cannot_be_found_is_why_its_cards_wait(store: SqlStore, database: Engine, run: Run) -> None:
    """Nothing was tried for the cards themselves; their place has the reason."""
    world = World(store, database, destinations=PLACES, is_resolved=False)
    world.messenger.unknown.add("slack:#ci")
    world.accept(event_of(1))
    world.deliver(5)
    (waiting,) = _json(run("deliveries", "--json"))["deliveries"]
    assert (waiting["reason"], waiting["destination"]) == ("unresolved:channel_not_found", "slack:#ci")
    assert waiting["words"].startswith("the place cannot be found: There is no such channel")
    assert [one["name"] for one in _json(run("deliveries", "--json", "--destination", "ci"))["deliveries"]] == [
        "user-service#1"
    ]


@pytest.mark.parametrize("named", ["user-service#1", str(key_of(1))])
def test_all_slots_of_a_build_are_listed(named: str, world: World, run: Run) -> None:
    """Shown, waiting or dead, at each place."""
    _bury(world, 1)
    found = _json(run("deliveries", "--json", "--subject", named))["deliveries"]
    assert {(one["place"], one["state"]) for one in found} == {("#ci", "dead"), ("#dev", "shown")}
    narrowed = _json(run("deliveries", "--json", "--subject", named, "--destination", "dev"))["deliveries"]
    assert [one["place"] for one in narrowed] == ["#dev"]


def test_a_build_that_two_sources_have_is_asked_for(world: World, run: Run) -> None:
    """The answer names both."""
    world.accept(event_of(1), event_of(1, source="jenkins"))
    complaint = run("deliveries", "--subject", "user-service#1", fails=True).output
    assert "several builds are called user-service#1: buildbot/user-service#1, jenkins/user-service#1" in complaint


def test_more_letters_than_one_transaction_takes_are_replayed(world: World, run: Run) -> None:
    """In several, each with its entries in the trail."""
    (card,) = _bury(world, 1)
    with world.database.begin() as connection:
        columns = "wanted_revision, is_final, is_dead, options, reason, opened_at, slot, destination, subject_key"
        old = "wanted_revision, is_final, is_dead, options, reason, opened_at, slot, destination"
        for number in range(BATCH + 5):
            copied = f"SELECT {old}, 'build:buildbot/many#{number}' FROM cards WHERE id = {card}"
            connection.exec_driver_sql(f"INSERT INTO cards ({columns}) {copied}")
    assert run("dead", "replay", "--all").output.splitlines()[-1] == f"replayed: {BATCH + 6}"
    assert len(world.trail()) == BATCH + 6


def test_the_trail_can_be_sealed_after_a_replay(world: World, run: Run) -> None:
    """An operator's entry is one like any other."""
    _bury(world, 1)
    run("dead", "replay", "--all")

    def seal(tx: Transaction) -> int:
        tx.audit.append(AuditEntry(0.0, "slack:U1", "retry", "x", "done"))
        return tx.audit.seal(10)

    assert world.store.write(seal) == 2


def test_without_a_database_nothing_is_made(tmp_path: Path) -> None:
    """A terminal in the wrong folder is told so, and leaves no empty database behind."""
    path = tmp_path / "shipmate.yaml"
    path.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    result = CliRunner(env={**ENVIRONMENT, "SHIPMATE_CONFIG": str(path)}).invoke(cli, ["dead", "list"])
    assert result.exit_code == 1
    assert "shipmate.db does not exist" in result.output
    assert [one.name for one in tmp_path.iterdir()] == ["shipmate.yaml"]


def test_a_database_of_an_older_version_is_refused(run: Run, database: Engine) -> None:
    """One that lacks what this version needs, as every other process refuses it."""
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    assert "schema is 0001" in run("dead", "list", fails=True).output
