"""The configured trackers, and finding the issue that people or commits mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from bot.domain.cards import Code, Link
from bot.domain.issues import MOST_KEYS, KeyRules
from bot.domain.triggers import Trigger
from bot.errors import CommandInvalid
from bot.ports.trackers import DeliveryRecords, Relations, Releases, Tracker


@dataclass(frozen=True, slots=True)
class Told:
    """What the issues of a deployment are told, by globs of environments."""

    comment: tuple[str, ...] = ()
    link: tuple[str, ...] = ()
    fix_version: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrackerAccess:
    """How one tracker can be asked and told things, its triggers, and the language of what is written there."""

    tracker: Tracker
    rules: KeyRules = field(default_factory=KeyRules)
    releases: Releases | None = None
    relations: Relations | None = None
    records: DeliveryRecords | None = None
    shows_builds: bool = False
    triggers: tuple[Trigger, ...] = ()
    told: Told = field(default_factory=Told)
    locale: str = "en"


class Trackers:
    """All trackers by their configured name."""

    def __init__(self, trackers: Mapping[str, TrackerAccess]) -> None:
        self._trackers = dict(trackers)

    def get(self, name: str) -> TrackerAccess | None:
        """One of them; None when the configuration names it no more."""
        return self._trackers.get(name)

    def tracker(self, name: str) -> Tracker:
        """One that there is."""
        return self._trackers[name].tracker

    def items(self) -> Iterator[tuple[str, TrackerAccess]]:
        """Names and trackers, in the order of the file."""
        yield from self._trackers.items()

    def locate(self, word: str) -> tuple[str, str]:
        """Tracker and key of `USER-12` or `jira/USER-12`; CommandInvalid (`no_tracker`, `unknown_issue`, `ambiguous`).

        One whose configuration names the project outweighs one that takes any.
        """
        if not self._trackers:
            raise CommandInvalid("no_tracker")
        name, slash, rest = word.partition("/")
        if slash and name in self._trackers:
            key = self._trackers[name].rules.parse(rest)
            found = {name: key} if key else {}
        else:
            found = self._trackers_of(word)
        if not found:
            raise CommandInvalid("unknown_issue", self._known_projects())
        if len(found) > 1:
            raise CommandInvalid("ambiguous", ", ".join(f"{name}/{key}" for name, key in found.items()))
        return next(iter(found.items()))

    def home_of(self, key: str) -> str | None:
        """The tracker that a key found in a commit belongs to; the first one where several might have it."""
        return next(iter(self._trackers_of(key)), None)

    def keys_in(self, text: str) -> tuple[str, ...]:
        """The issue keys in a text, of whichever tracker."""
        found = [key for access in self._trackers.values() for key in access.rules.find(text)]
        return tuple(dict.fromkeys(found))[:MOST_KEYS]

    def links_in(self, *texts: str | None) -> tuple[Link, ...]:
        """The issues that texts name, each linked to its page."""
        found: dict[str, Link] = {}
        for access in self._trackers.values():
            for key in access.rules.find("\n".join(text for text in texts if text)):
                found.setdefault(key, Link(key, access.rules.url(key)))
        return tuple(found.values())[:MOST_KEYS]

    def links_of(self, keys: Sequence[str]) -> tuple[Link | Code, ...]:
        """Keys as they are shown: linked to the issue's page, plain where none is known."""
        return tuple(self._link_of(key) for key in keys)

    def _link_of(self, key: str) -> Link | Code:
        home = self.home_of(key)
        url = self._trackers[home].rules.url(key) if home is not None else ""
        return Link(key, url) if url else Code(key)

    def _trackers_of(self, word: str) -> dict[str, str]:
        found = {name: key for name, access in self._trackers.items() if (key := access.rules.parse(word))}
        named = {name: key for name, key in found.items() if self._trackers[name].rules.projects}
        return named or found

    def _known_projects(self) -> str | None:
        projects = sorted(project for access in self._trackers.values() for project in access.rules.projects)
        return ", ".join(projects[:8]) or None


def is_among(environment: str, globs: Sequence[str]) -> bool:
    """Whether an environment is one of those that globs name."""
    return any(fnmatchcase(environment, glob) for glob in globs)
