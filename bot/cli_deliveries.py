"""`shipmate deliveries` and `shipmate dead`: what is wanted where, and what was given up."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from bot.ports import AttemptRecord, DeliveryRecord
    from bot.services.operator import Operator

MOST = 50
LOCALE = "en"
CONFIG = click.option(
    "--config",
    "path",
    default="shipmate.yaml",
    show_default=True,
    envvar="SHIPMATE_CONFIG",
    type=click.Path(path_type=Path),
    help="The configuration file.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document; times in seconds since 1970.")
LIMIT = click.option("--limit", default=MOST, show_default=True, type=click.IntRange(1, 10_000), help="Rows at most.")
REASON = click.option("--reason", default="", help="Only those of this reason, such as not_in_channel.")
DESTINATION = click.option("--destination", default="", help="Only those of this place: its name, key or label.")
ID = click.IntRange(1, 2**63 - 1)  # as far as the databases count
IDS = click.argument("ids", nargs=-1, type=ID, metavar="ID…")


def _operator(path: Path) -> AbstractContextManager[Operator]:
    from bot.operating import operator
    from bot.settings import load

    return operator(load(path))


@click.command()
@CONFIG
@click.option("--subject", default="", help="All slots of this build, such as user-service#12.")
@DESTINATION
@LIMIT
@AS_JSON
def deliveries(path: Path, subject: str, destination: str, limit: int, as_json: bool) -> None:
    """What is wanted and shown where, why, and when it is tried next.

    Without --subject and --destination: what waits now, the next one first. With them: all, the newest first.
    """
    with _operator(path) as operator:
        found = operator.deliveries(subject, destination, limit + 1)
    _show_list(found, limit, as_json=as_json, nothing="nothing waits" if not (subject or destination) else "nothing")


@click.group()
def dead() -> None:
    """What was given up: dead letters."""


@dead.command("list")
@CONFIG
@REASON
@DESTINATION
@LIMIT
@AS_JSON
def dead_list(path: Path, reason: str, destination: str, limit: int, as_json: bool) -> None:
    """What was given up, the newest first."""
    with _operator(path) as operator:
        found = operator.dead_letters(reason, destination, limit + 1)
    _show_list(found, limit, as_json=as_json, nothing="nothing was given up")


@dead.command("show")
@CONFIG
@AS_JSON
@click.argument("card_id", type=ID, metavar="ID")
def dead_show(path: Path, card_id: int, as_json: bool) -> None:
    """A delivery with its attempts, the cause in words, and what to do."""
    with _operator(path) as operator:
        story = operator.show(card_id)
    if as_json:
        _print_json({**_as_json(story.delivery), "attempts": [_attempt_json(one) for one in story.attempts]})
        return
    for label, words in _facts(story.delivery):
        click.echo(f"{label + ':':13}{_clean(words)}")
    rows = [
        (
            _time(one.started_at),
            f"{one.finished_at - one.started_at:.1f} s" if one.finished_at is not None else "-",
            one.operation,
            str(one.revision),
            one.outcome,
            one.detail,
        )
        for one in story.attempts
    ]
    click.echo()
    _print_table(("ATTEMPT", "TOOK", "WHAT", "REVISION", "OUTCOME", "THE PLATFORM'S WORDS"), rows or [("none",)])


@dead.command("replay")
@CONFIG
@click.option("--all", "is_all", is_flag=True, help="All of them.")
@REASON
@DESTINATION
@AS_JSON
@IDS
def dead_replay(path: Path, is_all: bool, reason: str, destination: str, as_json: bool, ids: tuple[int, ...]) -> None:
    """Make dead letters wanted again, with their newest state; a card takes its remarks along."""
    if bool(ids) == bool(is_all or reason or destination):
        raise click.UsageError("name numbers, or one of --all, --reason and --destination")
    with _operator(path) as operator:
        done = operator.replay(ids) if ids else operator.replay_all(reason, destination)
    _show_done(done, "replayed", as_json=as_json)


@dead.command("drop")
@CONFIG
@AS_JSON
@click.argument("ids", nargs=-1, required=True, type=ID, metavar="ID…")
def dead_drop(path: Path, as_json: bool, ids: tuple[int, ...]) -> None:
    """Take dead letters off the list: they are not posted."""
    with _operator(path) as operator:
        done = operator.drop(ids)
    _show_done(done, "dropped", as_json=as_json)


# --- showing


def _show_list(found: Sequence[DeliveryRecord], limit: int, *, as_json: bool, nothing: str) -> None:
    shown = found[:limit]
    if as_json:
        _print_json({"deliveries": [_as_json(one) for one in shown], "is_complete": len(found) <= limit})
        return
    if not shown:
        click.echo(nothing)
        return
    rows = []
    for one in shown:
        fields = _as_json(one)
        when = _time(one.last_attempt_at) if one.card.is_dead else _next_try(one)
        revisions = f"{one.card.shown_revision}/{one.card.wanted_revision}"
        rows.append((str(one.card.id), one.label, fields["name"], one.card.slot, revisions, when, fields["reason"]))
    _print_table(("ID", "PLACE", "SUBJECT", "SLOT", "SHOWN", "DIED / NEXT TRY", "REASON"), rows, last=_words_of(shown))
    if len(found) > limit:
        click.echo(f"… and more: --limit {limit * 4}")


def _words_of(shown: Sequence[DeliveryRecord]) -> Sequence[str]:
    return [str(_as_json(one)["words"]) for one in shown]


def _show_done(done: Sequence[DeliveryRecord], what: str, *, as_json: bool) -> None:
    if as_json:
        _print_json({what: [_as_json(one) for one in done]})
        return
    for one in done:
        fields = _as_json(one)
        words = f"{what} {one.card.id}: {fields['name']} ({one.card.slot}) → {one.label}, was {one.card.reason}"
        click.echo(_clean(words))
    click.echo(f"{what}: {len(done)}")


def _as_json(delivery: DeliveryRecord) -> dict[str, Any]:
    from bot.services.operator import subject_words
    from bot.services.presenters.causes import advice_words, cause_words
    from bot.services.presenters.reasons import reason_words

    card = delivery.card
    # A card that nothing has been tried for waits for what its whole place waits for.
    is_place = delivery.is_pending and bool(delivery.place_reason) and not card.reason
    reason = delivery.place_reason if is_place else delivery.reason
    family, _, detail = reason.partition(":")
    is_trouble = family in ("dead", "failed", "unresolved")
    return {
        "id": card.id,
        "subject": card.subject,
        "name": subject_words(card.subject),
        "slot": card.slot,
        "destination": card.destination,
        "place": delivery.label,
        "state": "dead" if card.is_dead else "waiting" if delivery.is_pending else "shown",
        "wanted_revision": card.wanted_revision,
        "shown_revision": card.shown_revision,
        "reason": reason,
        "words": reason_words(reason, LOCALE),
        "cause": cause_words(detail, LOCALE) if is_trouble else None,
        "advice": advice_words(detail, LOCALE) if is_trouble else None,
        "tries": card.tries,
        "opened_at": delivery.opened_at,
        "last_attempt_at": delivery.last_attempt_at,
        "next_try_at": delivery.next_try_at,
        "place_reason": delivery.place_reason,
    }


def _attempt_json(attempt: AttemptRecord) -> dict[str, Any]:
    return {name: getattr(attempt, name) for name in attempt.__slots__}


def _facts(delivery: DeliveryRecord) -> list[tuple[str, str]]:
    fields = _as_json(delivery)
    facts = [
        ("delivery", f"{delivery.card.id}, {fields['state']}"),
        ("subject", f"{fields['name']} ({delivery.card.subject})"),
        ("slot", delivery.card.slot),
        ("place", f"{delivery.label} ({delivery.card.destination})"),
        ("revision", f"{delivery.card.wanted_revision} wanted, {delivery.card.shown_revision} shown"),
        ("opened", _time(delivery.opened_at)),
        ("reason", fields["reason"] or "-"),
        ("cause", fields["cause"] or fields["words"]),
    ]
    if fields["advice"]:
        facts.append(("what to do", fields["advice"]))
    if delivery.card.is_dead and delivery.card.reason.startswith("dead:"):
        facts.append(("then", f"shipmate dead replay {delivery.card.id}, or shipmate dead drop {delivery.card.id}"))
    elif delivery.next_try_at is not None:
        facts.append(("next try", _next_try(delivery)))
    return facts


def _next_try(delivery: DeliveryRecord) -> str:
    at = delivery.next_try_at
    return "-" if at is None else _time(at) if at else "now"


def _time(at: float | None) -> str:
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _print_json(document: Any) -> None:  # noqa: ANN401 - JSON
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, last: Sequence[str] = ()) -> None:
    """Columns as wide as they need be; `last` are words below their row, because they need a line of their own."""
    cells = [heads, *(tuple(_clean(cell) for cell in row) for row in rows)]
    widths = [max(_width(row[at]) for row in cells if at < len(row)) for at in range(len(heads))]
    for index, row in enumerate(cells):
        padded = [cell + " " * (widths[at] - _width(cell)) for at, cell in enumerate(row)]
        click.echo("  ".join(padded).rstrip())
        if last and index:
            click.echo(f"{' ' * widths[0]}  {_clean(last[index - 1])}")


def _clean(words: str) -> str:
    """Without anything that would move a terminal's cursor."""
    return "".join(sign if sign.isprintable() else " " for sign in words)


def _width(words: str) -> int:
    """Columns of a terminal: Chinese signs take two."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in words)
