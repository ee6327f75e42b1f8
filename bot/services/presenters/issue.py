"""An issue as people see it in chat, and what is written to issues about deployments."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.domain.cards import (
    Action,
    Card,
    Code,
    Field,
    Lines,
    Link,
    Moment,
    Paragraph,
    Person,
    Section,
    Strong,
    Text,
    Tone,
    text,
)
from bot.domain.deployments import Deployment
from bot.domain.issues import Issue, StatusCategory
from bot.i18n import translate
from bot.services.presenters.deployment import deployment_card

MOST_DESCRIPTION = 600
CATEGORY_EMOJI = {
    StatusCategory.TO_DO: "📥",
    StatusCategory.IN_PROGRESS: "🛠️",
    StatusCategory.DONE: "✅",
    StatusCategory.UNKNOWN: "🎫",
}
TRIGGER_WORDS = {
    "dry_run": "I would deploy {service} {version} to {environment}. The trigger is a dry run: nothing was done.",
    "dry_run_refused": "I would not deploy {service} {version} to {environment}. The trigger is a dry run.",
    "no_fix_version": "I do not deploy {service} to {environment}: the issue names no fix version.",
    "several_fix_versions": "I do not deploy {service} to {environment}: the issue names several fix versions.",
    "bad_version": "I do not deploy {service} to {environment}: the trigger gives no version that can be deployed.",
    "refused": "I do not deploy {service} {version} to {environment}.",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a trigger started nothing: `reason` is a word of the trail, `words` say more to people."""

    trigger: str
    service: str
    environment: str
    version: str
    reason: str
    words: str = ""


def issue_card(issue: Issue, locale: str, timezone: str) -> Card:
    """What people ask of an issue: what it is, how it stands, who has it."""
    rows: list[tuple[str, Text]] = [
        ("Status", text(Strong(issue.status or "?"))),
        ("Type", text(issue.kind)),
        ("Priority", text(issue.priority)),
        ("Assignee", text(Person(issue.assignee) if issue.assignee else translate(locale, "nobody"))),
    ]
    if issue.fix_versions:
        rows.append(("Fix versions", text(", ".join(issue.fix_versions[:10]))))
    if issue.labels:
        rows.append(("Labels", text(", ".join(issue.labels[:10]))))
    if issue.updated_at is not None:
        rows.append(("Updated", text(Moment(issue.updated_at))))
    words = issue.description.strip()
    if len(words) > MOST_DESCRIPTION:
        words = words[: MOST_DESCRIPTION - 1].rstrip() + "…"
    opens = (Action("open", translate(locale, "View issue"), url=issue.url),) if issue.url else ()
    return Card(
        Tone.SUCCESS if issue.category is StatusCategory.DONE else Tone.NEUTRAL,
        f"{issue.key} · {issue.title}",
        emoji=CATEGORY_EMOJI[issue.category],
        title_url=issue.url or None,
        fields=tuple(Field(translate(locale, label), value) for label, value in rows if value != text("")),
        sections=(Paragraph(text(words)),) if words else (),
        actions=opens,
        locale=locale,
        timezone=timezone,
    )


def deployment_comment(deployment: Deployment, locale: str) -> tuple[Section, ...]:
    """What an issue is told of a deployment that ended: what its card says, in the words of a comment."""
    card = deployment_card(replace(deployment, issues=()), locale, "UTC")  # whoever reads it is at one of them
    facts = tuple(text(Strong(f"{field.label}: "), *field.value) for field in card.fields)
    sections: list[Section] = [Paragraph(text(f"{card.emoji} ", Strong(card.title))), Lines(facts), *card.sections]
    if card.title_url:
        sections.append(Paragraph(text(Link(translate(locale, "View deployment"), card.title_url))))
    return tuple(sections)


def refusal_comment(refusal: Refusal, locale: str) -> tuple[Section, ...]:
    """What an issue is told when its change started nothing."""
    sentence = TRIGGER_WORDS.get(refusal.reason, TRIGGER_WORDS["refused"])
    said = translate(
        locale, sentence, service=refusal.service, version=refusal.version, environment=refusal.environment
    )
    sections: list[Section] = [Paragraph(text("🧪 " if refusal.reason.startswith("dry_run") else "✋ ", said))]
    if refusal.words:
        sections.append(Paragraph(text(refusal.words)))
    sections.append(Paragraph(text(Code(refusal.trigger))))
    return tuple(sections)
