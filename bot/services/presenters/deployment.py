"""A deployment as people see it: its live card and its notices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bot.domain.cards import (
    Card,
    Code,
    Content,
    Field,
    Lines,
    Link,
    Moment,
    Notice,
    Paragraph,
    Person,
    Section,
    Strong,
    Text,
    Tone,
    text,
)
from bot.domain.deciding import ANSWER_S, TOO_OLD, WITHDRAWN
from bot.domain.deployments import Approval, Change, Deployment, DeploymentKind, DeploymentState, Version
from bot.domain.places import NOTICE_SLOT, OVERDUE_SLOT, kind_of_slot
from bot.i18n import translate
from bot.services.presenters.checks import checks_of
from bot.services.presenters.deployment_buttons import buttons_of
from bot.services.presenters.deployment_words import (
    EMOJI,
    STRUCK,
    TONE,
    WORD,
    asked_in,
    asks_still,
    emoji_of,
    is_asking,
    label_of,
    line_of,
    question_of,
    said_of,
)
from bot.services.presenters.words import duration

CARD_CHANGES = 6
MOST_ISSUES = 10
ASIDE_NAMED = 3
COMMIT_LENGTH = 8
_S = DeploymentState


@dataclass(frozen=True, slots=True)
class Leads:
    """Where a deployment's card leads to: its issues, linked where that is possible, and the service's page.

    `undone` are the issues that go with what it undoes.
    """

    issues: tuple[Link | Code, ...] = ()
    service_url: str = ""
    undone: tuple[Link | Code, ...] = ()


def present_deployment(
    deployment: Deployment, slot: str, options: Mapping[str, Any], platform: str, leads: Leads | None = None
) -> Content:
    """What stands in a slot of a deployment; `options` are those of the card's route and destination."""
    locale, timezone = options.get("locale", "en"), options.get("timezone", "UTC")
    kind = kind_of_slot(slot)
    if kind in (NOTICE_SLOT, OVERDUE_SLOT):
        return _notice(deployment, slot, options.get("mention", ()), platform, locale, timezone)
    return deployment_card(deployment, locale, timezone, leads)


def deployment_card(deployment: Deployment, locale: str, timezone: str, leads: Leads | None = None) -> Card:
    """The live card: what goes where, who agreed, how the checks stand, and what can be done about it.

    Without `leads` its issues are named and nothing is linked.
    """
    run = deployment.run
    if leads is None:
        come, go = (tuple(Code(key) for key in keys) for keys in (deployment.issues, issues_undone(deployment)))
        leads = Leads(come, undone=go)
    return Card(
        tone=TONE.get(deployment.state, Tone.RUNNING),
        emoji=emoji_of(deployment),
        title=_title(deployment, locale),
        title_url=run.url if run and run.url else None,
        fields=(*_fields(deployment, locale), *issues_of(leads, locale)),
        sections=tuple(_sections(deployment, locale)),
        actions=tuple(buttons_of(deployment, locale, leads.service_url)),
        footer=_footer(deployment, locale),
        subject=str(deployment.key),
        is_final=deployment.state.is_ended,
        locale=locale,
        timezone=timezone,
    )


def issues_undone(deployment: Deployment) -> tuple[str, ...]:
    """The issues that go with what it undoes."""
    return deployment.undoes.issues if deployment.undoes is not None else ()


def issues_of(leads: Leads, locale: str) -> tuple[Field, ...]:
    """The issues that go and those that come, side by side, at most ten of each; no field where there are none."""
    fields = []
    came = "Issues that it brings" if leads.undone else "Issues"
    for label, issues in (("Issues that it undoes", leads.undone), (came, leads.issues)):
        parts: list[Any] = [part for issue in issues[:MOST_ISSUES] for part in (", ", issue)][1:]
        if len(issues) > MOST_ISSUES:
            parts.append(" " + translate(locale, "… {count} more", count=len(issues) - MOST_ISSUES))
        if parts:
            fields.append(Field(translate(locale, label), text(*parts)))
    return tuple(fields)


def _title(deployment: Deployment, locale: str) -> str:
    return f"{label_of(deployment, locale)} · {_aim(deployment, locale)} · {translate(locale, WORD[deployment.state])}"


def _aim(deployment: Deployment, locale: str) -> str:
    """What goes where, in a title."""
    way = f"{deployment.version.name} → {deployment.environment}"
    return translate(locale, "rollback: {way}", way=way) if deployment.kind is DeploymentKind.ROLLBACK else way


def version_of(version: Version) -> Text:
    """A version by its name, and its commit where that is another word."""
    commit = version.commit[:COMMIT_LENGTH]
    return text(Code(version.name), *([f" ({commit})"] if commit and commit not in version.name else []))


def way_of(deployment: Deployment) -> Text:
    """From the version before to the new one, with the branch that it was built on where that is not its name."""
    parts: list[Any] = [*version_of(deployment.version)]
    if deployment.branch not in ("", deployment.version.name):
        parts.append(f" · {line_of(deployment.branch, 60)}")
    if deployment.previous is not None:
        parts = [Code(deployment.previous.name), " → ", *parts]
    return text(*parts)


def _fields(deployment: Deployment, locale: str) -> tuple[Field, ...]:
    rows: list[tuple[str, Text]] = [
        ("Service", text(deployment.service)),
        ("Environment", text(deployment.environment)),
        ("Version", way_of(deployment)),
        ("Deployed by" if deployment.started_at else "Requested by", text(Person(deployment.requester.name))),
    ]
    if deployment.reason:
        rows.append(("Reason", text(line_of(deployment.reason))))
    if deployment.started_at:
        rows.append(("Started", text(Moment(datetime.fromtimestamp(deployment.started_at, UTC)))))
    if deployment.ended_at and deployment.state.is_ended:
        rows.append(("Finished", text(Moment(datetime.fromtimestamp(deployment.ended_at, UTC)))))
        if deployment.started_at:
            rows.append(("Duration", text(duration(deployment.ended_at - deployment.started_at, locale))))
    return tuple(Field(translate(locale, label), value) for label, value in rows)


def _sections(deployment: Deployment, locale: str) -> list[Section]:
    sections: list[Section] = []
    said = said_of(deployment, locale)
    parts: list[Any] = ["\n".join(said)] if said else []
    if is_asking(deployment):
        parts += ["\n"] if said else []
        parts += _question(deployment, locale)
    if parts:
        sections.append(Paragraph(text(*parts)))
    if deployment.checks:  # before the approvals: where there is room for few lines, these are what is looked for
        sections.append(checks_of(deployment, locale))
    if deployment.terms.approvals:
        sections.append(_approvals(deployment, locale))
    sections += undoing_of(deployment, locale, CARD_CHANGES)
    sections += bringing_of(deployment, locale, CARD_CHANGES)
    if not deployment.state.is_ended:  # after that its end says what followed from it
        sections += doubts_of(deployment, locale)
    return sections


def _question(deployment: Deployment, locale: str) -> list[Any]:
    """What people are asked, and what becomes of it where nobody answers."""
    parts: list[Any] = [f"❔ {question_of(deployment, locale)}"]
    if deployment.asked_about and deployment.asked_at:
        until = Moment(datetime.fromtimestamp(deployment.asked_at + ANSWER_S, UTC))
        parts += [" · ", translate(locale, "without an answer it fails at"), " ", until]
    return parts


def doubts_of(deployment: Deployment, locale: str) -> list[Section]:
    """What is not known of the commits that it brings, and may stand in the way of a rollback."""
    said: list[Section] = []
    if not deployment.changes_known:
        said.append(Paragraph(text("❔ ", translate(locale, "Its commits are not all known."))))
    if deployment.aside:
        titles = line_of("; ".join(one.title for one in deployment.aside[:ASIDE_NAMED]))
        words = translate(locale, "Meanwhile on other branches, and not to be undone: {titles}", titles=titles)
        said.append(Paragraph(text("⚠️ ", words)))
    return said


def undoing_of(deployment: Deployment, locale: str, most: int) -> list[Section]:
    """The commits that a way back takes away, at most so many of them, whether those are all, and what that means."""
    undoes = deployment.undoes
    if undoes is None:
        return []
    said: list[Section] = []
    if deployment.kind is not DeploymentKind.ROLLBACK:
        words = translate(locale, "This version is older than what is there: it takes away what came since.")
        said.append(Paragraph(text("⏪ ", words)))
    if undoes.irreversible:
        titles = line_of("; ".join(undoes.irreversible))
        words = translate(locale, "It goes back over what cannot be undone: {titles}", titles=titles)
        said.append(Paragraph(text("⚠️ ", words)))
    title = translate(locale, "Commits that it undoes: {count}", count=undoes.count)
    sections: list[Section] = [*said, *changes_of(undoes.changes, locale, most, title, undoes.count)]
    if not undoes.is_known:
        sections.append(Paragraph(text("❔ ", translate(locale, "Not all commits that it undoes are known."))))
    return sections


def bringing_of(deployment: Deployment, locale: str, most: int) -> list[Lines]:
    """The commits that come, at most so many of them; named as such where others go."""
    count = len(deployment.brought)
    title = translate(locale, "Commits that it brings: {count}", count=count) if deployment.undoes is not None else ""
    return changes_of(deployment.brought, locale, most, title)


def _approvals(deployment: Deployment, locale: str) -> Lines:
    terms = deployment.terms
    title = translate(locale, "Approvals: {given} of {needed}", given=len(deployment.approvals), needed=terms.approvals)
    lines = [_decision("✅", one.name, one.at, one.reason) for one in deployment.approvals]
    lines += [_struck(one, locale) for one in deployment.struck]
    if deployment.rejection is not None:
        lines.append(_decision("❌", deployment.rejection.name, deployment.rejection.at, deployment.rejection.reason))
    if deployment.state is _S.AWAITING_APPROVAL:
        until = Moment(datetime.fromtimestamp(terms.expires_at, UTC))
        missing, roles = terms.approvals - len(deployment.approvals), ", ".join(terms.approvers)
        words = translate(locale, "{count} more of {roles}", count=missing, roles=roles)
        lines.append(text(f"🙋 {words} · ", translate(locale, "until"), " ", until))
    return Lines(tuple(lines), title=title)


def story_of(deployment: Deployment, locale: str) -> tuple[Text, ...]:
    """What happened to it, in order, and why it stands as it does."""
    asked = (deployment.requested_at, text("📝 ", translate(locale, "asked for"), " · ", deployment.requester.name))
    steps: list[tuple[float, Text]] = [asked]
    steps += [(one.at, text("✅ ", translate(locale, "approved"), " · ", one.name)) for one in deployment.approvals]
    for one in deployment.struck:
        words = translate(locale, STRUCK.get(one.reason, one.reason))
        steps.append((one.at, text(f"🚫 {one.name} ", words)))
    if (no := deployment.rejection) is not None:
        word = "withdrawn" if deployment.outcome == WITHDRAWN else "rejected"
        steps.append((no.at, text("❌ ", translate(locale, word), " · ", no.name)))
    if deployment.started_at:
        steps.append((deployment.started_at, text("⏳ ", translate(locale, "began"))))
    parts: list[Any] = [f"{emoji_of(deployment)} ", Strong(translate(locale, WORD[deployment.state]))]
    parts += [f" · {one}" for one in said_of(deployment, locale)]
    steps.sort(key=lambda step: step[0])
    steps.append((deployment.state_since, text(*parts)))
    return tuple(text(Moment(datetime.fromtimestamp(at, UTC)), " · ", *line) for at, line in steps)


def _struck(approval: Approval, locale: str) -> Text:
    """An approval that counts no more, and why."""
    words = translate(locale, STRUCK.get(approval.reason, approval.reason))
    return text("🚫 ", Person(approval.name), f" {words} · ", Moment(datetime.fromtimestamp(approval.at, UTC)))


def _decision(emoji: str, name: str, at: float, reason: str) -> Text:
    why = f" — {line_of(reason, 100)}" if reason else ""
    return text(f"{emoji} ", Person(name), " · ", Moment(datetime.fromtimestamp(at, UTC)), why)


def changes_of(changes: Sequence[Change], locale: str, most: int, title: str = "", count: int = 0) -> list[Lines]:
    """Commits, at most so many of them, under their number or a title; `count` where these are not all."""
    if not changes:
        return []
    lines = [
        text(Code(one.commit[:COMMIT_LENGTH]), f" {one.title}", f" · {one.author}" if one.author else "")
        for one in changes
    ]
    title = title or translate(locale, "Commits: {count}", count=len(changes))
    return [Lines(tuple(lines[:most]), title=title, hidden=max(count, len(lines)) - min(most, len(lines)))]


def _footer(deployment: Deployment, locale: str) -> Text:
    parts: list[Any] = []
    if deployment.terms.is_break_glass:
        parts.append("🚨 " + translate(locale, "Without approvals (break-glass)"))
    return text(*parts)


def _notice(
    deployment: Deployment, slot: str, mention: Sequence[str], platform: str, locale: str, timezone: str
) -> Notice:
    """A remark that notifies: what happened, and who has to look."""
    name = slot.partition("@")[2]
    short, what = Strong(label_of(deployment, locale)), f" {_aim(deployment, locale)}"
    called = list(mention)
    match name:
        case "approval":
            sentence, emoji, called = "waits for approval", "🙋", _callable(deployment, platform)
        case _ if name.startswith("reminder"):
            sentence, emoji, called = "still waits for approval", "⏰", _asked(deployment, platform)
        case _ if name.startswith("struck"):
            sentence, emoji = "waits for approval again", "🚫"
            out = {one.account for one in deployment.struck if one.reason != TOO_OLD}
            called = [account for account in _asked(deployment, platform) if account not in out]
        case _ if name.startswith(("raised", "approval")):
            sentence, emoji, called = "waits for approval again", "🙋", _asked(deployment, platform)
        case _ if name.startswith("question"):
            sentence, emoji = "", "❔"
            called = called if asks_still(deployment, name) else []
        case "break_glass":
            sentence, emoji = "is deployed without approvals", "🚨"
        case "failed":  # whatever follows from it meanwhile has a notice of its own
            sentence, emoji = WORD[_S.FAILED], EMOJI[_S.FAILED]
        case _:
            sentence, emoji = WORD[deployment.state], emoji_of(deployment)
    parts: list[Any] = [
        short,
        what,
        " · ",
        translate(locale, sentence) if sentence else asked_in(deployment, name, locale),
    ]
    said = [line_of(deployment.reason)] if name == "break_glass" else said_of(deployment, locale)
    if name.startswith("struck"):
        said = [f"{one.name} {translate(locale, STRUCK.get(one.reason, one.reason))}" for one in deployment.struck]
    if not name.startswith(("approval", "reminder")):
        parts += [f" · {one}" for one in said]
    people = tuple(Person(account.partition(":")[2], account, is_mentioned=True) for account in called)
    return Notice(emoji, text(*parts), people, locale=locale, timezone=timezone)


def _callable(deployment: Deployment, platform: str) -> list[str]:
    """The accounts of those who may approve that can be called on a platform."""
    return [account for account in deployment.terms.called if account.partition(":")[0] == platform]


def _asked(deployment: Deployment, platform: str) -> list[str]:
    """The same without who has agreed already."""
    agreed = {approval.account for approval in deployment.approvals}
    return [account for account in _callable(deployment, platform) if account not in agreed]
