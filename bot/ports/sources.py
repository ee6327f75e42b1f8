"""What services ask of a source of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.domain.builds import Build
from bot.domain.deployments import Version
from bot.domain.events import Event
from bot.domain.subjects import SubjectKey


@dataclass(frozen=True, slots=True)
class Received:
    """What a webhook meant. Without events, `reason` is `ignored:<what>` (known) or `unknown:<what>`."""

    events: tuple[Event, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Events that came together, `at` a moment (seconds since 1970), or none: then something else that comes again.

    Work that is written with it stores all of them, and nothing else beside what follows from them; without events it
    touches nothing that those are about.
    """

    events: Sequence[Event]
    at: float


class WebhookSource(Protocol):
    """Understands the webhooks of one configured source."""

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Received:
        """Authenticate, then parse; headers have lower-case names. Pure: raises SignatureInvalid, PayloadInvalid."""
        ...


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit that a build brought; `title` is the first line of its message."""

    revision: str
    title: str
    author: str = ""


@dataclass(frozen=True, slots=True)
class Between:
    """What came between two versions, newest first: of the new one's own branch, and of others meanwhile.

    `is_all` only if nothing is missing, for all that the source can tell; where the time did not suffice,
    `may_tell_more` says that it is worth while to ask again. With `is_back` nothing came: the new one is the older
    one, whenever it was built.
    """

    commits: Sequence[Commit] = ()
    aside: Sequence[Commit] = ()
    branch: str = ""
    is_all: bool = True
    may_tell_more: bool = False
    is_back: bool = False


class BuildReader(Protocol):
    """Reads builds from a CI system. Calls try once, within 8 s, and raise IntegrationError."""

    def fetch(self, key: SubjectKey, *, with_log: bool) -> Event:
        """Everything known now of a build: stages, and `with_log` failed tests and the log excerpt too.

        Raises DestinationGone when there is no such build; with reason `no_such_build` when that is certain.
        The event's kind is build_progressed or build_enriched, its delivery key differs whenever its facts do.
        """
        ...

    def list_builds(self, project: str, limit: int) -> Sequence[Build]:
        """The newest builds of a configured project, newest first."""
        ...

    def between(self, project: str, old: Version, new: Version, limit: int) -> Between:
        """What came after `old` up to `new`, which have builds of the project: at most `limit` commits, in few calls.

        Whether what came on other branches is part of `new` need not be known; a source that knows leaves it out.
        """
        ...

    def read_log(self, key: SubjectKey, *, max_lines: int) -> str:
        """The last lines of the log that matters most (the first failed stage's, else the last stage's)."""
        ...


@dataclass(frozen=True, slots=True)
class Begun:
    """Builds that began after a mark, as they stand now, and the mark to ask from next; more wait unless `is_all`."""

    events: tuple[Event, ...]
    mark: str
    is_all: bool = True


class BuildHistory(Protocol):
    """Lists the builds of all projects in the order in which they began: one call at a time, within 8 s."""

    def begun_since(self, mark: str, limit: int) -> Begun:
        """At most `limit` builds; none for the empty mark, which stands for now. Raises IntegrationError.

        What began between two calls is told by the second call after it at the latest, so that who tells of it by
        itself has had the time between two calls to do so.
        """
        ...


@dataclass(frozen=True, slots=True)
class Triggered:
    """A run was asked for: `request` is the system's id of the request, `build` the run once it has a number."""

    request: str
    build: SubjectKey | None = None


class BuildRequests(Protocol):
    """What was asked for in a CI system and may not have begun yet. Calls try once, within 8 s."""

    def follow(self, project: str, request: str, *, correlation: str = "") -> SubjectKey | None:
        """The build that a request became, or None while it waits; DestinationGone when it was dropped.

        DestinationGone with another reason where it is none of the project's, as that is configured by now, or, where
        the request of a `run` is named by its `correlation`, another one of the same number.
        """
        ...

    def withdraw(self, project: str, request: str, *, asked_by: str) -> None:
        """Take a request that waits for its turn away: `follow` tells whether it was, or became a build all the same.

        Raises what `follow` raises, and other IntegrationErrors.
        """
        ...


class BuildControl(BuildRequests, Protocol):
    """Acts on a CI system. Calls try once, within 8 s. OutcomeUnknown: ask `find_run` before anything else."""

    def retry(self, key: SubjectKey, *, correlation: str, asked_by: str) -> Triggered:
        """Run the build again with the same inputs; Conflict with a reason when it cannot be."""
        ...

    def run(self, project: str, parameters: Mapping[str, str], *, correlation: str, asked_by: str) -> Triggered:
        """Start a run of a configured project."""
        ...

    def cancel(self, key: SubjectKey, *, asked_by: str) -> bool:
        """Stop a running build; False when it had already ended."""
        ...

    def find_run(
        self, project: str, *, correlation: str, since: datetime, retried: SubjectKey | None
    ) -> Triggered | None:
        """The first run asked for after `since` that carries our correlation, or None when there certainly is none."""
        ...
