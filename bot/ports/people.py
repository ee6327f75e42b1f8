"""What services ask of the database about people's accounts, and which of them are one person's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol


class Accounts(Protocol):
    """What was last heard of accounts, and who is the same person."""

    def note(self, account: str, name: str, address_digest: str) -> None:
        """Remember an account's name and the digest of its e-mail address; what is empty stays as it was."""
        ...

    def names(self, accounts: Iterable[str]) -> Mapping[str, str]:
        """The names of those that are known."""
        ...

    def joined(self, account: str) -> frozenset[str]:
        """The account itself and those that are joined with it now."""
        ...

    def same_person(self, account: str, since: float | None = None) -> frozenset[str]:
        """Those, and those with the same e-mail address, and so on from each of them.

        With `since` also those that were joined then or later and have been parted.
        """
        ...


class Joining(Protocol):
    """Joins accounts by codes; one transaction at a time."""

    def issue(self, account: str, code: str, expires_at: float) -> None:
        """Keep an account's code, encrypted, in place of an earlier one."""
        ...

    def redeem(self, account: str, code: str, now: float) -> str | None:
        """Use a code up; the account it was given to. None counts as a failure of the `account` that tried it."""
        ...

    def failures(self, account: str, since: float) -> int:
        """How many codes an account has tried in vain, one soon after the other, the last of them after `since`."""
        ...

    def join(self, one: str, other: str, person: str, at: float) -> None:
        """Make both, and all that are joined with either, one person; `person` names it where none is known."""
        ...

    def part(self, account: str, at: float) -> None:
        """Let an account be a person of its own again."""
        ...
