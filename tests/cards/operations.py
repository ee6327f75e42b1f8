"""What operators and the curious read: a build explained, and a dead letter told of."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.domain.builds import Build, BuildFacts, BuildStatus, Phase
from bot.domain.cards import Card, Notice
from bot.ports import AttemptRecord, CardRecord, DeliveryRecord
from bot.services.presenters.dead_letters import dead_letter_notice
from bot.services.presenters.explain import Explanation, RouteAnswer, SlotStory, explain_card
from tests.stores import key_of

AT = datetime(2026, 3, 4, 9, 30, tzinfo=UTC).timestamp()
_ZONES = {"en": "UTC", "zh-CN": "Asia/Shanghai"}


def _story(number: int, label: str, slot: str, reason: str, *outcomes: str, detail: str = "") -> SlotStory:
    is_dead = reason.startswith("dead:")
    shown = 2 if reason == "sent" else 1
    due_at = AT + 4 if reason.startswith("failed:") else 0.0
    card = CardRecord(
        number,
        str(key_of()),
        f"slack:T/{label}",
        slot,
        2,
        shown,
        "",
        None,
        True,
        AT,
        False,
        is_dead,
        due_at,
        0,
        None,
        None,
        None,
        {},
        reason,
    )
    attempts = tuple(
        AttemptRecord(at + 1, "update" if at else "post", AT + at, AT + at + 0.3, outcome, detail)
        for at, outcome in enumerate(outcomes)
    )
    return SlotStory(DeliveryRecord(card, label, AT, 0.0, "", AT), attempts)


def _build() -> Build:
    facts = BuildFacts(status=BuildStatus.FAILED, branch="dev")
    return Build(key_of(), 1, Phase.FINISHED, facts)


def explained(locale: str) -> Card:
    """Three routes, four slots, in every state that differs."""
    routes = (
        RouteAnswer("routes[0]", "routed", ("ci", "ops")),
        RouteAnswer("routes[1]", "filtered:branch", ("dev",), ("main", "release/*"), "dev"),
        RouteAnswer("routes[2]", "waiting:fixed", ("dev",)),
        RouteAnswer("subscription:user-service", "filtered:muted", ("#web",)),
    )
    slots = (
        _story(17, "#ci", "card", "sent", "sent", "sent"),
        _story(18, "#ci", "notice@2", "failed:unreachable", "failed:unreachable", detail="ConnectTimeout"),
        _story(19, "#ops", "card", "dead:not_in_channel", "dead:not_in_channel"),
        _story(20, "#ops", "thread:log", "dead:no_card"),
    )
    events = (("build_started", AT - 60, AT - 59.8), ("build_finished", AT - 10, AT))
    missing = [_story(at, f"#team-{at}", "card", "dead:not_in_channel").delivery for at in range(20, 42)]
    others = [_story(at, f"#team-{at}", "card", "sent").delivery for at in range(42, 60)]
    story = Explanation(_build(), events, routes, slots, hidden_routes=1, missing=missing, others=others)
    return explain_card(story, AT, locale, _ZONES[locale])


def overfull(locale: str) -> Card:
    """As much as one answer may hold, with text that misbehaves: it is shortened, and says so."""
    nasty = "<!channel> *x* `y` " * 12
    routes = tuple(
        RouteAnswer(f"routes[{at}]", "filtered:branch", ("ci",), tuple([nasty] * 9), nasty) for at in range(12)
    )
    outcomes = ("failed:unreachable",) * 4
    slots = tuple(_story(at, f"#place-{at}", "card", "dead:other", *outcomes, detail=nasty[:200]) for at in range(8))
    events = tuple(("build_progressed", AT, AT + 400) for _ in range(10))
    missing = [_story(at, f"#place-{at}", "card", "dead:other").delivery for at in range(98)]
    story = Explanation(_build(), events, routes, slots, hidden_routes=400, missing=missing)
    return explain_card(story, AT, locale, _ZONES[locale])


def given_up(locale: str) -> Notice:
    """What the admin is told."""
    options = {
        "subject": str(key_of()),
        "slot": "card",
        "place": "#ci",
        "platform": "slack",
        "reason": "not_in_channel",
    }
    return dead_letter_notice(options, locale, _ZONES[locale])
