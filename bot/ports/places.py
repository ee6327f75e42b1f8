"""What services ask of the database about places, and about what their people want there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.domain.places import Place


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one channel asked for, beyond the file: a project's cards, or none of them (`is_mute`)."""

    destination: str
    project: str
    is_mute: bool
    milestones: tuple[str, ...]
    locale: str
    created_by: str


class Places(Protocol):
    """Which place an address of the configuration is."""

    def key_of(self, address: str) -> str | None:
        """The resolved key, or None."""
        ...

    def ensure(self, places: Sequence[Place]) -> None:
        """Make the destinations' rows exist."""
        ...

    def adopt(self, address: str, place: Place) -> None:
        """Record that `address` is `place`, and move what was wanted at the address there."""
        ...

    def addresses_of(self, key: str) -> Sequence[str]:
        """The addresses that are resolved to a place."""
        ...

    def move(self, address: str, key: str, place: Place) -> None:
        """Record that `address`, which was the place `key`, is `place` now; what is under way there is posted anew."""
        ...


class Subscriptions(Protocol):
    """What channels asked for from chat."""

    def for_project(self, project: str) -> Sequence[Subscription]:
        """Subscriptions and mutes that concern a project."""
        ...

    def put(self, subscription: Subscription, at: float) -> None:
        """Add or replace the channel's wish for the project; one for `*` ends its opposite ones for single projects."""
        ...
