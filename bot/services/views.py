"""What windows show: a build's details, for platforms that have windows and want them at once."""

from __future__ import annotations

from bot.domain.cards import Card, Notice, Paragraph, Tone
from bot.domain.commands import Actor, CommandLine, Verb, parse_command
from bot.errors import CommandInvalid, IntegrationError, NotPermitted, StorageUnavailable
from bot.services.people import People
from bot.services.presenters import replies
from bot.services.reading import Reading


class Views:
    """Gives the two contents of a window: what is known already, then what its source tells.

    `prefix` is what stands before a command where it is shown to people.
    """

    def __init__(self, reading: Reading, people: People, *, prefix: str = "/ship") -> None:
        self._reading = reading
        self._people = people
        self._prefix = prefix

    def loading(self, typed: str, actor: Actor, locale: str) -> Card:
        """What is known of a build.

        NotPermitted for outsiders, CommandInvalid for what cannot be shown, IntegrationError when the platform cannot
        say who the actor is.
        """
        line = _show(typed)
        decision = self._people.decide(self._people.complete(actor), "")
        if not decision.is_allowed:
            raise NotPermitted(decision.reason)
        return self._reading.loading(line, locale)

    def details(self, typed: str, locale: str, timezone: str) -> Card:
        """The build as fresh as its source can tell, or a card that says why it cannot be shown."""
        try:
            return self._reading.details(_show(typed), locale, timezone)
        except CommandInvalid as problem:
            return _as_card(typed, replies.invalid(problem, locale, self._prefix))
        except IntegrationError as problem:
            return _as_card(typed, replies.trouble(problem, locale))
        except StorageUnavailable:
            return _as_card(typed, replies.remark(locale, "⚠️", "I cannot read that right now. Please try again."))


def _show(typed: str) -> CommandLine:
    line = parse_command(typed)
    if line.verb is not Verb.SHOW:
        raise CommandInvalid("unknown_verb", Verb.SHOW.value)
    return line


def _as_card(typed: str, notice: Notice) -> Card:
    """A remark in a window; its title is what was asked for, without the verb."""
    title = " ".join(typed.split()[1:])[:80] or "?"
    return Card(Tone.NEUTRAL, title, emoji=notice.emoji, sections=(Paragraph(notice.body),), locale=notice.locale)
