"""What is said to people who ask about deployments, or for one: the preview, lists, and what came of a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from bot.domain.cards import (
    Action,
    Card,
    Code,
    Field,
    Lines,
    Link,
    Moment,
    Notice,
    Paragraph,
    Section,
    Strong,
    Style,
    Text,
    Tone,
    text,
)
from bot.domain.commands import Verb
from bot.domain.deciding import WITHDRAWN, lacks_reason
from bot.domain.deployments import FAILED_STATES, Change, Deployment, DeploymentKind, DeploymentState, Version
from bot.domain.dora import Dora
from bot.domain.services import Target
from bot.i18n import translate
from bot.ports.deploying import Lock
from bot.services.presenters.checks import figures_of
from bot.services.presenters.deployment import (
    ASIDE_NAMED,
    COMMIT_LENGTH,
    Leads,
    bringing_of,
    changes_of,
    doubts_of,
    issues_of,
    undoing_of,
    version_of,
    way_of,
)
from bot.services.presenters.deployment_words import (
    EMOJI,
    WORD,
    emoji_of,
    line_of,
    reason_command,
    sentence_of,
    unlock_command,
)
from bot.services.presenters.words import duration as span

LIST_CHANGES = 30
MOST_LOCKS = 5
_S = DeploymentState


def preview_card(
    deployment: Deployment,
    target: Target,
    locale: str,
    timezone: str,
    leads: Leads,
    hindrance: str = "",
) -> Card:
    """What would happen, for the person who asked and must confirm it.

    `hindrance` is what would keep it waiting if it were to begin now.
    """
    short, words = deployment.key.short, {"service": deployment.service, "environment": deployment.environment}
    if deployment.kind is DeploymentKind.ROLLBACK:
        title = translate(locale, "Roll {service} back in {environment}?", **words)
    elif deployment.undoes is not None:
        title = translate(locale, "Deploy an older version of {service} to {environment}?", **words)
    else:
        title = translate(locale, "Deploy {service} to {environment}?", **words)
    sections = undoing_of(deployment, locale, LIST_CHANGES)
    sections += [*bringing_of(deployment, locale, LIST_CHANGES), *doubts_of(deployment, locale)]
    if not deployment.changes_known and target.rollback.is_enabled and target.rollback.irreversible:
        sections.append(
            Paragraph(text(translate(locale, "Should it fail, nothing is undone by itself: people decide.")))
        )
    if rows := _steps(deployment, target, locale, hindrance):
        sections.append(Lines(tuple(rows), title=translate(locale, "What will happen")))
    fields = [Field(translate(locale, "Version"), way_of(deployment))]
    if deployment.reason:
        fields.append(Field(translate(locale, "Reason"), text(line_of(deployment.reason))))
    return Card(
        tone=Tone.NEUTRAL,
        emoji="📝",
        title=title,
        fields=(*fields, *issues_of(leads, locale)),
        sections=tuple(sections),
        actions=(
            Action("confirm", translate(locale, "Confirm"), f"confirm {short}", style=Style.PRIMARY),
            Action("abort", translate(locale, "Never mind"), f"abort {short}"),
        ),
        footer=text(Code(short), " · ", translate(locale, "Confirm within 10 minutes.")),
        locale=locale,
        timezone=timezone,
    )


def _steps(deployment: Deployment, target: Target, locale: str, hindrance: str) -> list[Text]:
    """Who must agree, what it would have to wait for, what will be checked, and that a way back locks."""
    rows: list[Text] = []
    terms = deployment.terms
    if terms.is_break_glass:
        rows.append(text("🚨 ", translate(locale, "Without approvals, and everybody is told.")))
    elif terms.approvals:
        roles = ", ".join(terms.approvers)
        words = translate(locale, "{count} of {roles} must approve", count=terms.approvals, roles=roles)
        rows.append(text("🙋 ", words))
    if hindrance:
        rows.append(text("🕒 ", translate(locale, "Now it would have to wait."), " ", hindrance))
    rows += [text("🔬 ", Strong(spec.name), f" {spec.limit}") for spec in target.checks]
    if deployment.rollback_of:
        sentence = "Then {environment} is locked: nothing else is deployed there until somebody unlocks it ({command})."
        command = unlock_command(deployment, locale)
        words = translate(locale, sentence, environment=deployment.environment, command=command)
        rows.append(text("🔒 ", words))
    return rows


def decided(verb: Verb, deployment: Deployment, locale: str) -> Notice:
    """What came of a decision, for who made it."""
    short = deployment.key.short
    missing = deployment.terms.approvals - len(deployment.approvals)
    match verb:
        case Verb.APPROVE if missing > 0:
            words = translate(
                locale, "Approved. {count} more needed for {deployment}.", count=missing, deployment=short
            )
            return Notice("👍", text(words), locale=locale)
        case Verb.APPROVE:
            emoji, sentence = "👍", "Approved: {deployment} begins as soon as nothing holds it back."
        case Verb.REVOKE:
            emoji, sentence = "↩️", "Your approval of {deployment} is taken back."
        case Verb.REJECT:
            is_own = deployment.outcome == WITHDRAWN
            emoji = "🚫" if is_own else "👎"
            sentence = "{deployment} is withdrawn." if is_own else "{deployment} is rejected."
        case Verb.KEEP:
            emoji, sentence = "👌", "{deployment} is kept."
        case Verb.CONFIRM if deployment.state is _S.AWAITING_APPROVAL:
            emoji, sentence = "🙋", "{deployment} waits for approval now."
        case Verb.CONFIRM:
            emoji, sentence = "🚀", "{deployment} is confirmed, and begins as soon as nothing holds it back."
        case _ if deployment.state in FAILED_STATES:
            emoji, sentence = "⏪", "{deployment} is not kept."
        case _ if deployment.state is _S.CANCELLED:
            emoji, sentence = "🚫", "{deployment} is cancelled."
        case _:
            emoji, sentence = "🚫", "{deployment} is asked to stop."
    words = translate(locale, sentence, deployment=short) + _ask_why(deployment, locale)
    return Notice(emoji, text(words), locale=locale)


def _ask_why(deployment: Deployment, locale: str) -> str:
    if not lacks_reason(deployment):
        return ""
    words = translate(locale, "Nobody knows why yet. Say so: {command}", command=reason_command(deployment, locale))
    return f" {words}"


def rejected_notice(told: Mapping[str, str], locale: str) -> Notice:
    """For who asked for a deployment: somebody rejected it, and why."""
    sentence = "{rejected} ({what}), which you asked for, was rejected by {by}."
    words = translate(locale, sentence, rejected=told["rejected"], what=told["what"], by=told["by"])
    why = f" — {line_of(told['why'])}" if told["why"] else ""
    return Notice("👎", text(words, why), locale=locale)


def locked(verb: Verb, where: str, stood: Lock | None, locale: str, still: Sequence[Lock] = ()) -> Notice:
    """What came of locking or unlocking; `stood` is the lock that stood before, `still` are those that keep it yet."""
    if verb is Verb.LOCK:
        if stood is None:
            return Notice("🔒", text(translate(locale, "{where} is locked.", where=where)), locale=locale)
        words = translate(
            locale, "{where} was locked already by {name}: {reason}", where=where, name=stood.name, reason=stood.reason
        )
        return Notice("🔒", text(words), locale=locale)
    if stood is not None and still:
        sentence = "{where} is not locked by {name} any more ({reason})."
        parts = [translate(locale, sentence, where=where, name=stood.name, reason=stood.reason)]
    else:
        sentence = "{where} is unlocked." if stood else "{where} was not locked."
        parts = [translate(locale, sentence, where=where)]
    for lock in still[:MOST_LOCKS]:
        what = f"{lock.service}/{lock.environment or '*'}"
        sentence = "{where} is still locked by {name}: {reason}"
        parts.append(translate(locale, sentence, where=what, name=lock.name, reason=lock.reason))
    return Notice("🔒" if still else "🔓", text(" · ".join(parts)), locale=locale)


@dataclass(frozen=True, slots=True)
class Standing:
    """What an environment of a service has: the good version, what is under way, how many wait, and the locks on it.

    `under_way` is what changes it now, or would next; `waiting` are those behind it.

    `wrong` are those that came after the good version, went wrong and were not brought back, the latest first: they are
    what runs there, or a part of it.
    """

    service: str
    environment: str
    version: Version | None
    since: float
    wrong: tuple[Deployment, ...] = ()
    under_way: Deployment | None = None
    waiting: int = 0
    locks: tuple[Lock, ...] = ()


def deployments_card(standings: Sequence[Standing], newest: Sequence[Deployment], locale: str, timezone: str) -> Card:
    """What is where, and what was deployed last."""
    sections: list[Section] = []
    if standings:
        lines = tuple(_standing(one, locale) for one in standings)
        sections.append(Lines(lines, title=translate(locale, "What is where")))
    if newest:
        lines = tuple(deployment_line(one, locale) for one in newest)
        sections.append(Lines(lines, title=translate(locale, "Newest deployments")))
    if not sections:
        sections.append(Paragraph(text(translate(locale, "Nothing yet."))))
    title = translate(locale, "Deployments")
    return Card(Tone.NEUTRAL, title, emoji="🚢", sections=tuple(sections), locale=locale, timezone=timezone)


def deployment_line(deployment: Deployment, locale: str) -> Text:
    """A deployment in one line of a list."""
    parts: list[Any] = [
        f"{emoji_of(deployment)} ",
        Strong(deployment.key.short),
        f" {deployment.environment} · ",
        Code(deployment.version.name),
        f" · {translate(locale, WORD[deployment.state])} · ",
        Moment(datetime.fromtimestamp(deployment.requested_at, UTC)),
    ]
    if deployment.figures:
        parts.append(f" · 📊 {figures_of(deployment, locale)}")
    return text(*parts)


@dataclass(frozen=True, slots=True)
class Compared:
    """Two versions and the commits between them, which are all of them only if `is_known`.

    `environment` is where the old one is, if that and the newest build are compared; then either may be missing. With
    `is_back` the new one is the older one, and the commits are those that it lacks. `aside` are commits that came
    meanwhile on other branches. `wrong` went wrong there after the old one, the good one, and was left.
    """

    old: Version | None
    new: Version | None
    environment: str = ""
    changes: tuple[Change, ...] = ()
    is_known: bool = True
    is_back: bool = False
    aside: tuple[Change, ...] = ()
    wrong: tuple[Deployment, ...] = ()


def whats_in_card(service: str, compared: Compared, locale: str, *, issues: Sequence[Link | Code]) -> Card:
    """What lies between two versions: commits and the issues that they name."""
    old, new = compared.old.name if compared.old else "—", compared.new.name if compared.new else "—"
    if compared.environment:
        sentence = "What is new for {environment}: {service}"
        title = translate(locale, sentence, environment=compared.environment, service=service)
        labels = translate(locale, "There now"), translate(locale, "Newest good build")
    else:
        title = translate(locale, "From {old} to {new}: {service}", old=old, new=new, service=service)
        labels = translate(locale, "Before"), translate(locale, "After")
    ends = (compared.old, compared.new)
    fields = [Field(label, version_of(one) if one else text("—")) for label, one in zip(labels, ends, strict=True)]
    sections: list[Section] = [_left(compared.wrong, locale)] if compared.wrong else []
    if compared.is_back:
        words = translate(locale, "{new} is older than {old}: it lacks these commits.", new=new, old=old)
        sections.append(Paragraph(text("⏪ ", words)))
    sections += changes_of(compared.changes, locale, LIST_CHANGES)
    there = {change.commit for change in compared.changes}
    if aside := [
        change.title or change.commit[:COMMIT_LENGTH] for change in compared.aside if change.commit not in there
    ]:
        titles, count = "; ".join(aside[:ASIDE_NAMED]), len(aside)
        sentence = "Meanwhile on other branches, and perhaps part of it: {titles} ({count})"
        sections.append(Paragraph(text("🔀 ", translate(locale, sentence, titles=titles, count=count))))
    if not compared.is_known:
        sections.append(Paragraph(text("❔ ", translate(locale, "Not all commits between the two are known."))))
    elif not compared.changes:
        sections.append(Paragraph(text(translate(locale, "Nothing new, or I know no commits between the two."))))
    return Card(
        Tone.NEUTRAL,
        title,
        emoji="📦",
        fields=(*fields, *issues_of(Leads(tuple(issues)), locale)),
        sections=tuple(sections),
        locale=locale,
    )


def dora_card(figures: Sequence[Dora], days: int, locale: str) -> Card:
    """The four figures, a line each, of each service and environment."""
    sections: list[Section] = []
    for one in figures:
        rate, total = one.failure_rate, one.failed + one.succeeded
        rows = (
            ("Deployment frequency", _frequency(one, locale)),
            ("Lead time", span(one.lead_time_s, locale) if one.lead_time_s is not None else "—"),
            ("Change failure rate", f"{rate:.0%} ({one.failed}/{total})" if rate is not None else "—"),
            ("Time to restore", span(one.restore_s, locale) if one.restore_s is not None else "—"),
        )
        lines = [text(Strong(translate(locale, label)), f" · {value}") for label, value in rows]
        if one.open_failures:
            lines.append(text("💥 ", translate(locale, "{count} not restored yet", count=one.open_failures)))
        sections.append(Lines(tuple(lines), title=f"{one.service} · {one.environment}"))
    if not sections:
        sections.append(Paragraph(text(translate(locale, "Nothing yet."))))
    title = translate(locale, "DORA figures of the last {days} days", days=days)
    return Card(Tone.NEUTRAL, title, emoji="📈", sections=tuple(sections), locale=locale)


def _frequency(one: Dora, locale: str) -> str:
    """So many a day, a week or a month: in the shortest of them that has one at all."""
    sentence, days = "{rate} a month ({count})", 30
    if one.per_day >= 1:
        sentence, days = "{rate} a day ({count})", 1
    elif one.per_day * 7 >= 1:
        sentence, days = "{rate} a week ({count})", 7
    return translate(locale, sentence, rate=f"{round(one.per_day * days, 1):g}", count=one.succeeded)


def _standing(one: Standing, locale: str) -> Text:
    parts: list[Any] = [Strong(f"{one.service} · {one.environment}"), " "]
    parts.append(Code(one.version.name) if one.version else "—")
    if one.since:
        parts += [" · ", Moment(datetime.fromtimestamp(one.since, UTC))]
    parts += [f" · {_wrong(wrong, locale)}" for wrong in one.wrong]
    if one.under_way is not None:
        under_way = one.under_way
        word = translate(locale, WORD[under_way.state])
        parts.append(f" · {EMOJI[under_way.state]} {under_way.key.short} {under_way.version.name} {word}")
    if one.waiting:
        parts.append(f" · {translate(locale, '{count} more wait', count=one.waiting)}")
    parts += [f" · 🔒 {lock.name}: {lock.reason}" for lock in one.locks]
    return text(*parts)


def _wrong(deployment: Deployment, locale: str) -> str:
    version = deployment.version.name
    if deployment.state is _S.CANCELLED:
        return "🚫 " + translate(locale, "{version} was stopped half way", version=version)
    if deployment.state is _S.ROLLBACK_FAILED:
        return f"{emoji_of(deployment)} {version} {translate(locale, WORD[deployment.state])}"
    return "❌ " + translate(locale, "{version} failed and was not rolled back", version=version)


def _left(wrong: Sequence[Deployment], locale: str) -> Paragraph:
    """What runs there, or a part of it, though it went wrong."""
    return Paragraph(text(" · ".join(_wrong(one, locale) for one in wrong)))


def beside(card: Card, wrong: Sequence[Deployment], same: Deployment | None, locale: str) -> Card:
    """A preview with what went wrong there and was left: it is not from the good version alone that one goes.

    `same` brought this very version before, and that went wrong.
    """
    said = [_left(wrong, locale)] if wrong else []
    if same is not None and same not in wrong:
        sentence = "This version went wrong there before: {deployment}, {state}."
        state = translate(locale, WORD[same.state])
        words = translate(locale, sentence, deployment=same.key.short, state=state)
        said.append(Paragraph(text(f"⚠️ {words} {sentence_of(same.outcome, same.detail, locale)}".rstrip())))
    return replace(card, sections=(*said, *card.sections))
