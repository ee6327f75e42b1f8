"""What services ask of an issue tracker, and what its integration asks for: a place for tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.domain.builds import Build
from bot.domain.cards import Section
from bot.domain.deployments import Deployment
from bot.domain.issues import Issue, IssueChange, Release, RemoteLink


class Tracker(Protocol):
    """Reads and changes issues. Calls end within 8 s and raise IntegrationError; DestinationGone: no such issue."""

    def issue(self, key: str) -> Issue:
        """An issue as it stands now."""
        ...

    def transition(
        self,
        key: str,
        status: str,
        comment: Sequence[Section] = (),
        marker: str = "",
        *,
        since: datetime | None = None,
    ) -> bool:
        """Move it to the status of that name, saying why; False when it is there already, and nothing is said.

        False also where a comment that ends in `marker` stands already, or where it has come to that status after
        `since`: it was moved then, and somebody moved it on.
        Rejected: `no_transition` when no way leads there, with the ways that there are.
        """
        ...

    def comment(self, key: str, sections: Sequence[Section], marker: str) -> bool:
        """Write a comment that ends in `marker`; False when one of ours that does stands there already."""
        ...

    def link(self, key: str, link: RemoteLink) -> None:
        """Link it to something elsewhere, in place of an earlier link of the same `global_id`."""
        ...

    def changes(self, since: datetime) -> Sequence[IssueChange]:
        """What changed since then, oldest first; of versions, all that are released. Takes up to a minute."""
        ...


class Releases(Protocol):
    """The versions of a tracker's projects, where it has such."""

    def releases(self, project: str) -> Sequence[Release]:
        """The versions of a project, released or not."""
        ...

    def find(self, release: Release) -> Release | None:
        """A version as it stands now, with its project's key; None when no project that we know has it."""
        ...

    def add_fix_version(self, key: str, name: str) -> None:
        """Say that an issue is in a version; nothing changes where it is."""
        ...


class Relations(Protocol):
    """Links between issues."""

    def relate(self, key: str, other: str, kind: str) -> bool:
        """Link two issues, as `key` `kind` `other`; False when they are linked so. Rejected: there is no such kind."""
        ...


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of facts that were handed in: `rejected` in the tracker's words, keys that it does not know."""

    accepted: int
    rejected: tuple[str, ...] = ()
    unknown_keys: tuple[str, ...] = ()


class DeliveryRecords(Protocol):
    """Shows deployments and builds at the issues they contain, where a tracker has a place for that."""

    def submit_deployment(self, deployment: Deployment, keys: Sequence[str], at: datetime) -> Submission:
        """Show how a deployment stands; an older state never replaces a newer one."""
        ...

    def submit_build(self, build: Build, revision: int, keys: Sequence[str], at: datetime) -> Submission:
        """Show how a build stands; an older revision never replaces a newer one."""
        ...


@dataclass(frozen=True, slots=True)
class ReceivedChanges:
    """What a webhook meant. Without changes, `reason` is `ignored:<what>` (known) or `unknown:<what>`."""

    changes: tuple[IssueChange, ...]
    reason: str = ""


class ChangeSource(Protocol):
    """Understands the webhooks of one configured tracker."""

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> ReceivedChanges:
        """Authenticate, then parse; headers have lower-case names. Pure: raises SignatureInvalid, PayloadInvalid."""
        ...


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token that outlives the process, until `expires_at` (seconds since 1970); `value` is stored encrypted.

    `rank` grows with each replacement.
    """

    value: str
    expires_at: float
    rank: int = 0


class TokenStore(Protocol):
    """Keeps tokens that rotate: whoever renews one holds it alone, so that no two renew it at once."""

    def read(self, name: str) -> StoredToken | None:
        """The token of that name."""
        ...

    def hold(self, name: str, *, seconds: float) -> StoredToken | None:
        """Take a token for renewal, for so long (one without a value is made); None when somebody else has it."""
        ...

    def replace(self, name: str, held: StoredToken, value: str, expires_at: float) -> bool:
        """Store its successor and let go; False when somebody else took it meanwhile, and nothing is stored."""
        ...
