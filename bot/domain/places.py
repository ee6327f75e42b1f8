"""Where cards stand, and what can be done there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bot.domain.budgets import Budget, Window
from bot.domain.noise import QuietHours

CARD_SLOT = "card"
NOTICE_SLOT = "notice"
LOG_SLOT = "thread:log"
OVERDUE_SLOT = "thread:overdue"
ADMIN_SLOT = "admin"
CHART_SLOT = "chart"
# In the place of the digest of what a card shows, before a time: a change that we hung up on then may still come, and
# undo later ones; the end was shown all the same, and is going to be shown once more when no such change can come.
UNSURE, ONCE_MORE = "unsure", "once more"


def attempts_slot(slot: str, attempt: int) -> str:
    """A thread slot of one attempt of a subject: each attempt that fails notifies anew."""
    return slot if attempt == 1 else f"{slot}@{attempt}"


def kind_of_slot(slot: str) -> str:
    """The slot without its attempt."""
    return slot.partition("@")[0]


def stands_alone(slot: str) -> bool:
    """Whether a slot is a post of its own: neither below nor beside a card."""
    return slot in (CARD_SLOT, ADMIN_SLOT)


class Operation(StrEnum):
    """What a call does at a place; platforms budget them apart."""

    POST = "post"
    UPLOAD = "upload"
    UPDATE = "update"
    WHISPER = "whisper"
    FIND = "find"
    RESOLVE = "resolve"

    @property
    def is_new(self) -> bool:
        """Whether it makes a post that was not there before."""
        return self in (Operation.POST, Operation.UPLOAD)


@dataclass(frozen=True, slots=True)
class Place:
    """A resolved destination. `key` is `platform:account/id` (`slack:T024/C0G9QF9GZ`): one place, one key."""

    key: str
    label: str

    @property
    def platform(self) -> str:
        """The part before the colon."""
        return self.key.partition(":")[0]

    @property
    def account(self) -> str:
        """The workspace, organisation or app."""
        return self.key.partition(":")[2].partition("/")[0]

    @property
    def whole_account(self) -> str:
        """The account with its platform (`slack:T024`)."""
        return self.key.partition("/")[0]

    @property
    def id(self) -> str:
        """The platform's id of the channel, group or robot."""
        return self.key.partition("/")[2]


def kin_of(key: str) -> str:
    """What a place hangs together with: its account (`slack:T024`), for an address not resolved yet its platform."""
    account, slash, _ = key.partition("/")
    return account if slash else key.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a place can do and how much of it.

    `place_budget` paces all calls to the place; `account_budgets` are further limits by operation, shared with other
    places, the one that a refusal of the platform's pauses first. `can_find` says that a call in doubt can be looked up
    by its attempt, `is_idempotent` that the same attempt made again makes no second post, `can_upload` that pictures
    can be shown.
    """

    can_edit: bool
    can_thread: bool
    can_find: bool
    place_budget: Budget
    account_budgets: Mapping[Operation, Sequence[Window]] = field(default_factory=dict)
    can_upload: bool = False
    is_idempotent: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """A platform's payload; `digest` is equal for payloads that look the same to a reader."""

    payload: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class DestinationSettings:
    """A named place of the configuration. `address` is what its platform's messenger resolves (`slack:#ci`)."""

    name: str
    address: str
    locale: str = "en"
    timezone: str = "UTC"
    quiet_hours: QuietHours | None = None
    progress_interval_s: float | None = None
