"""A build as people see it: its live card, its notice, its details."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bot.domain.builds import Build, BuildStatus, Stage, StageStatus
from bot.domain.cards import (
    Action,
    Card,
    Code,
    Confirm,
    Content,
    Field,
    Lines,
    Moment,
    Notice,
    Paragraph,
    Person,
    Plain,
    Preformatted,
    Section,
    Strong,
    Style,
    Text,
    text,
)
from bot.domain.cards import Link as Hyperlink
from bot.domain.logs import telling_lines
from bot.domain.places import ADMIN_SLOT, LOG_SLOT, NOTICE_SLOT, OVERDUE_SLOT, kind_of_slot
from bot.i18n import translate
from bot.services.presenters.dead_letters import admin_notice
from bot.services.presenters.words import (
    BUILD_EMOJI,
    BUILD_TONE,
    STAGE_EMOJI,
    duration,
    overdue_words,
    status_word,
    window,
)

ACTS = ("cancel", "retry")  # what a build's buttons ask its source for
CARD_STAGES = 12
CARD_TESTS = 5
CARD_LOG_LINES = 8
CARD_ISSUES = 5
DETAIL_STAGES = 60
DETAIL_TESTS = 20
COMMIT_LENGTH = 10


def present(build: Build, slot: str, options: Mapping[str, Any]) -> Content:
    """What stands in a slot of a build; `options` are those of the card's route and destination."""
    locale, timezone = options.get("locale", "en"), options.get("timezone", "UTC")
    kind = kind_of_slot(slot)
    if kind == ADMIN_SLOT:
        return admin_notice(options, locale, timezone)
    if kind == NOTICE_SLOT:
        return build_notice(build, options.get("mention", ()), locale, timezone)
    if kind == OVERDUE_SLOT:
        return overdue_notice(build, locale, timezone)
    if kind == LOG_SLOT:
        return log_notice(build, locale, timezone)
    mention = options.get("mention", ()) if options.get("mentions_in_card") else ()
    card = build_card(build, locale, timezone, mention, options.get("issues", ()), options.get("acts", ACTS))
    if "turns" not in options:
        return card
    return replace(card, fields=(*card.fields, _flapping(options["turns"], options["turns_per_s"], locale)))


def build_card(
    build: Build,
    locale: str,
    timezone: str,
    mention: Sequence[str] = (),
    issues: Sequence[Hyperlink] = (),
    acts: Collection[str] = ACTS,
) -> Card:
    """The live card: status, people, stages, and on failure the failing tests and the end of the log.

    `mention` are accounts to call when it failed or was fixed, where no notice beside the card does so. `issues` are
    those that its branch and commit name. Only what is among `acts` is offered.
    """
    return Card(
        tone=BUILD_TONE[build.status],
        emoji=BUILD_EMOJI[build.status],
        title=_title(build, locale),
        title_url=build.facts.url,
        fields=_fields(build, locale, issues),
        sections=tuple(_card_sections(build, locale)),
        actions=tuple(_actions(build, locale, acts)),
        footer=_footer(build, locale, mention),
        subject=str(build.key),
        is_final=build.is_finished,
        locale=locale,
        timezone=timezone,
    )


def details_card(build: Build, log: str, locale: str, timezone: str, issues: Sequence[Hyperlink] = ()) -> Card:
    """Everything known of a build, for a window or a private answer."""
    sections: list[Section] = []
    if build.facts.stages:
        sections.append(_stages(build.facts.stages, locale, most=DETAIL_STAGES))
    sections += _tests(build, locale, most=DETAIL_TESTS)
    if log:
        sections.append(Preformatted(log, title=translate(locale, "Log")))
    return Card(
        tone=BUILD_TONE[build.status],
        emoji=BUILD_EMOJI[build.status],
        title=_title(build, locale),
        title_url=build.facts.url,
        fields=_fields(build, locale, issues),
        sections=tuple(sections),
        footer=_footer(build, locale),
        subject=str(build.key),
        locale=locale,
        timezone=timezone,
    )


def build_notice(build: Build, mention: Sequence[str], locale: str, timezone: str) -> Notice:
    """The remark that notifies people of a failure or a repair."""
    parts: list[Any] = [Strong(build.key.short), " ", status_word(build.status, locale, is_fixed=build.is_fixed)]
    if build.facts.branch:
        parts += [" ", translate(locale, "on"), " ", Code(build.facts.branch)]
    if build.status is BuildStatus.FAILED and build.facts.failed_tests:
        parts += [": ", Code(build.facts.failed_tests[0].name)]
    return Notice(BUILD_EMOJI[build.status], text(*parts), _called(mention), locale=locale, timezone=timezone)


def overdue_notice(build: Build, locale: str, timezone: str) -> Notice:
    """The final state, said in the thread because the card itself cannot be changed yet."""
    body = text(
        Strong(build.key.short),
        " ",
        status_word(build.status, locale, is_fixed=build.is_fixed),
        " · ",
        overdue_words(locale),
    )
    return Notice(BUILD_EMOJI[build.status], body, locale=locale, timezone=timezone)


def log_notice(build: Build, locale: str, timezone: str) -> Notice:
    """The log lines that matter, for the card's thread."""
    title = translate(locale, "Log of {build}", build=build.key.short)
    excerpt = Preformatted(build.facts.log_excerpt or "")
    return Notice("📄", text(Strong(title)), excerpt=excerpt, locale=locale, timezone=timezone)


def build_line(build: Build, locale: str) -> Text:
    """A build in one line of a list."""
    name: Strong | Hyperlink = Strong(build.key.short)
    if build.facts.url:
        name = Hyperlink(build.key.short, build.facts.url)
    parts: list[Any] = [
        f"{BUILD_EMOJI[build.status]} ",
        name,
        " ",
        status_word(build.status, locale, is_fixed=build.is_fixed),
    ]
    if build.facts.branch:
        parts += [" · ", Code(build.facts.branch)]
    if build.duration_s is not None:
        parts += [" · ", duration(build.duration_s, locale)]
    if build.facts.started_at is not None:
        parts += [" · ", Moment(build.facts.started_at)]
    return text(*parts)


def _title(build: Build, locale: str) -> str:
    return f"{build.key.project} #{build.key.number} · {status_word(build.status, locale, is_fixed=build.is_fixed)}"


def _fields(build: Build, locale: str, issues: Sequence[Hyperlink]) -> tuple[Field, ...]:
    facts = build.facts
    rows: list[tuple[str, Text]] = []
    if facts.branch:
        rows.append(("Branch", text(Code(facts.branch))))
    if facts.commit:
        title = f" {facts.commit_title}" if facts.commit_title else ""
        rows.append(("Commit", text(Code(facts.commit[:COMMIT_LENGTH]), title)))
    if issues:
        rows.append(("Issues", _row_of(issues[:CARD_ISSUES])))
    if facts.author:
        rows.append(("Author", text(Person(facts.author))))
    if facts.triggered_by and facts.triggered_by != facts.author:
        rows.append(("Triggered by", text(Person(facts.triggered_by))))
    if facts.started_at:
        rows.append(("Started", text(Moment(facts.started_at))))
    if facts.finished_at and build.is_finished:  # before the end it would tick
        rows.append(("Finished", text(Moment(facts.finished_at))))
    if build.duration_s is not None and build.is_finished:
        rows.append(("Duration", text(duration(build.duration_s, locale))))
    if build.attempt > 1:
        rows.append(("Attempt", text(str(build.attempt))))
    return tuple(Field(translate(locale, label), value) for label, value in rows)


def _row_of(links: Sequence[Hyperlink]) -> Text:
    """Links side by side."""
    return text(*(part for link in links for part in (", ", link)))[1:]


def _flapping(turns: int, per_s: float, locale: str) -> Field:
    words = translate(locale, "{count} changes in {window}", count=turns, window=window(per_s, locale))
    return Field(translate(locale, "Flapping"), text(words))


def _card_sections(build: Build, locale: str) -> list[Section]:
    sections: list[Section] = []
    facts = build.facts
    if facts.stages:
        sections.append(_stages(facts.stages, locale, most=CARD_STAGES))
    sections += _tests(build, locale, most=CARD_TESTS)
    if build.status is BuildStatus.FAILED:
        if facts.log_excerpt:
            lines = telling_lines(facts.log_excerpt.rstrip().splitlines(), CARD_LOG_LINES)
            sections.append(Preformatted("\n".join(lines), title=translate(locale, "Log")))
        elif facts.summary and not facts.failed_tests:
            sections.append(Paragraph(text(facts.summary)))
    if build.status is BuildStatus.UNKNOWN and facts.silent_days:
        words = translate(locale, "Nothing was heard of it for {days} days.", days=facts.silent_days)
        sections.append(Paragraph(text(words)))
    return sections


def _stages(stages: Sequence[Stage], locale: str, *, most: int) -> Lines:
    failed = [stage for stage in stages if stage.status is StageStatus.FAILED]
    done = sum(stage.status in (StageStatus.SUCCESS, StageStatus.WARNING) for stage in stages)
    title = translate(locale, "Stages: {done} of {total} succeeded", done=done, total=len(stages))
    if failed:
        title += translate(locale, ", {count} failed", count=len(failed))
    shown = _most_telling(stages, most)
    return Lines(tuple(_stage(stage, locale) for stage in shown), title=title, hidden=len(stages) - len(shown))


def _most_telling(stages: Sequence[Stage], most: int) -> list[Stage]:
    """At most `most` stages in their order: those that failed or run, then the last ones."""
    if len(stages) <= most:
        return list(stages)
    telling = [i for i, stage in enumerate(stages) if stage.status in (StageStatus.FAILED, StageStatus.RUNNING)][:most]
    rest = [i for i in reversed(range(len(stages))) if i not in telling]
    return [stages[i] for i in sorted([*telling, *rest[: most - len(telling)]])]


def _stage(stage: Stage, locale: str) -> Text:
    parts: list[Any] = [f"{STAGE_EMOJI[stage.status]} ", stage.name]
    if stage.duration_s is not None and stage.status not in (StageStatus.RUNNING, StageStatus.PENDING):
        parts.append(f" · {duration(stage.duration_s, locale)}")
    return text(*parts)


def _tests(build: Build, locale: str, *, most: int) -> list[Section]:
    tests = build.facts.failed_tests or ()
    if not tests:
        return []
    lines = []
    for test in tests[:most]:
        detail = f" — {test.detail.splitlines()[0]}" if test.detail.strip() else ""
        lines.append(text(Code(test.name), Plain(detail)))
    title = translate(locale, "Failed tests: {count}", count=len(tests))
    return [Lines(tuple(lines), title=title, hidden=len(tests) - len(lines))]


def _actions(build: Build, locale: str, acts: Collection[str]) -> list[Action]:
    reference = f"{build.key.source}/{build.key.short}@{build.attempt}"
    actions = []
    if not build.is_finished and "cancel" in acts:
        confirm = Confirm(
            translate(locale, "Cancel {build}?", build=build.key.short),
            translate(locale, "The build stops at once and ends as cancelled."),
            translate(locale, "Cancel build"),
            translate(locale, "Keep running"),
        )
        label = translate(locale, "Cancel")
        actions.append(Action("cancel", label, f"cancel {reference}", style=Style.DANGER, confirm=confirm))
    elif build.is_finished and build.facts.retried_as is None and "retry" in acts:
        style = Style.PRIMARY if build.status is BuildStatus.FAILED else Style.DEFAULT
        actions.append(Action("retry", translate(locale, "Retry"), f"retry {reference}", style=style))
    actions.append(Action("details", translate(locale, "View details"), f"show {reference}"))
    if build.facts.url:
        actions.append(Action("open", translate(locale, "View build"), url=build.facts.url))
    return actions


def _footer(build: Build, locale: str, mention: Sequence[str] = ()) -> Text:
    facts = build.facts
    parts: list[Any] = []
    if facts.retried_as is not None:
        retried = translate(locale, "Retried by {person}", person=facts.retried_by or "?")
        parts.append(f"🔁 {retried} → {facts.retried_as} ")
    if build.is_finished and (build.status is BuildStatus.FAILED or build.is_fixed):
        parts += [part for person in _called(mention) for part in (person, " ")]
    return text(*parts)


def _called(mention: Sequence[str]) -> tuple[Person, ...]:
    return tuple(Person(account.partition(":")[2], account, is_mentioned=True) for account in mention)
