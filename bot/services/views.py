"""What windows show: a build's details, for platforms that have windows and want them at once."""

from __future__ import annotations

from bot.domain.cards import Card, Notice, Paragraph, Question, Tone
from bot.domain.commands import SPECS, Actor, CommandLine, ReplyTo, Verb, parse_command
from bot.domain.deployment_lines import MAX_REASON, parse_number
from bot.errors import CommandInvalid, IntegrationError, NotPermitted, StorageUnavailable
from bot.i18n import translate
from bot.services.people import People
from bot.services.presenters import replies
from bot.services.reading import Reading


class Views:
    """Gives the two contents of a window: what is known already, then what its source tells.

    `prefix` is what stands before a command where it is shown to people; `locale` is the language of places that the
    configuration does not name.
    """

    def __init__(self, reading: Reading, people: People, *, prefix: str = "/ship", locale: str = "en") -> None:
        self._reading = reading
        self._people = people
        self._prefix = prefix
        self._locale = locale

    def loading(self, typed: str, actor: Actor, reply_to: ReplyTo) -> Card:
        """What is known of a build, in the language of the place that it was asked at.

        NotPermitted for outsiders, CommandInvalid for what cannot be shown, IntegrationError when the platform cannot
        say who the actor is.
        """
        line = _show(typed)
        decision = self._people.decide(self._people.complete(actor), "")
        if not decision.is_allowed:
            raise NotPermitted(decision.reason)
        return self._reading.loading(line, self._manner(reply_to)[0])

    def details(self, typed: str, reply_to: ReplyTo) -> Card:
        """The build as fresh as its source can tell, or a card that says why it cannot be shown."""
        locale, timezone = self._locale, "UTC"
        try:
            locale, timezone = self._manner(reply_to)
            return self._reading.details(_show(typed), locale, timezone)
        except CommandInvalid as problem:
            return _as_card(typed, replies.invalid(problem, locale, self._prefix))
        except IntegrationError as problem:
            return _as_card(typed, replies.trouble(problem, locale))
        except StorageUnavailable:
            return _as_card(typed, replies.remark(locale, "⚠️", "I cannot read that right now. Please try again."))

    def question(self, typed: str, reply_to: ReplyTo) -> Question:
        """What is asked of who rejects a deployment by a press; CommandInvalid for any other command."""
        line = parse_command(typed)
        if line.verb is not Verb.REJECT:
            raise CommandInvalid("unknown_verb", Verb.REJECT.value)
        about, locale = parse_number(line.arguments, SPECS[line.verb].usage), self._manner(reply_to)[0]
        name = f"{about.service}#{about.number}"
        return Question(
            title=translate(locale, "Reject a deployment"),
            label=translate(locale, "Why? Who asked for {deployment} reads it.", deployment=name),
            yes=translate(locale, "Reject"),
            no=translate(locale, "Never mind"),
            command=f"{line.verb} {name}",
            most=MAX_REASON,
        )

    def _manner(self, reply_to: ReplyTo) -> tuple[str, str]:
        """The language and zone of where it was asked."""
        settings = self._reading.settings_of(reply_to.place)
        known = (settings.locale, settings.timezone) if settings is not None else (self._locale, "UTC")
        return reply_to.locale or known[0], known[1]


def _show(typed: str) -> CommandLine:
    line = parse_command(typed)
    if line.verb is not Verb.SHOW:
        raise CommandInvalid("unknown_verb", Verb.SHOW.value)
    return line


def _as_card(typed: str, notice: Notice) -> Card:
    """A remark in a window; its title is what was asked for, without the verb."""
    title = " ".join(typed.split()[1:])[:80] or "?"
    return Card(Tone.NEUTRAL, title, emoji=notice.emoji, sections=(Paragraph(notice.body),), locale=notice.locale)
