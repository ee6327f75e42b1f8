"""Windows that open within the three seconds a trigger lives, so that no command is stored for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from bot.domain.cards import Card, Question
from bot.domain.commands import Actor, ReplyTo
from bot.errors import CommandInvalid, DestinationGone, IntegrationError, NotPermitted, StorageUnavailable
from bot.ports import Modals
from bot.telemetry import logger
from handlers.inbox import Heard, Inbox, accept

THREADS = 4
MOST_WAITING = 32
MOST_SEEN = 1000
ALREADY_OPENED = "exchanged_trigger"
"""Why a trigger opens no window when the same press was brought to another process too."""

log = logger(__name__)


class Views(Protocol):
    """What windows show."""

    def loading(self, typed: str, actor: Actor, reply_to: ReplyTo) -> Card:
        """What is known at once; NotPermitted, CommandInvalid, IntegrationError."""
        ...

    def details(self, typed: str, reply_to: ReplyTo) -> Card:
        """What the source tells, or why it tells nothing."""
        ...

    def question(self, typed: str, reply_to: ReplyTo) -> Question:
        """What a press asks for before it is a command; CommandInvalid where it asks for nothing."""
        ...


class Windows:
    """Opens a window for a press and fills it, on a few threads of its own.

    A press that cannot have its window (not permitted, no such build, trigger expired, too many waiting) is stored as
    a command instead, so that a worker answers it beside the card.
    """

    def __init__(self, inbox: Inbox, views: Views, modals: Modals) -> None:
        self._inbox = inbox
        self._views = views
        self._modals = modals
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="slack-windows")
        self._room = threading.BoundedSemaphore(MOST_WAITING)
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, None] = OrderedDict()

    def show(self, heard: Heard, *, trigger: str, view_id: str | None = None) -> None:
        """Open a window soon (or refill the one that was pressed in); the same press acts once. Does not wait."""
        if self._is_repeated(heard.dedup_key):
            return
        if not self.later(lambda: self._show(heard, trigger, view_id)):
            self._answer_beside(heard)

    def ask(self, heard: Heard, *, trigger: str) -> None:
        """Open a window that asks for the words which a command lacks; the same press acts once. Does not wait."""
        if not self._is_repeated(heard.dedup_key) and not self.later(lambda: self._ask(heard, trigger)):
            self._answer_beside(heard)

    def later(self, work: Callable[[], None]) -> bool:
        """Do something on one of the threads; False when there is no room, or after the stop."""
        if not self._room.acquire(blocking=False):
            return False
        try:
            self._pool.submit(self._run, work)
        except RuntimeError:  # the pool was stopped
            self._room.release()
            return False
        return True

    def stop(self) -> None:
        """Take no more work and drop what waits; what is under way ends by its own time limits."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as problem:  # the edge of a pool's thread: nobody reads its future
            log.exception("slack window failed", error=problem)
        finally:
            self._room.release()

    def _show(self, heard: Heard, trigger: str, view_id: str | None) -> None:
        try:
            card = self._views.loading(heard.typed, heard.actor, heard.reply_to)
            if view_id is None:
                view_id = self._modals.open(trigger, card)
            else:
                self._modals.update(view_id, card)
        except (NotPermitted, CommandInvalid, IntegrationError, StorageUnavailable) as problem:
            log.info("slack window not opened", error=problem)
            if not (isinstance(problem, DestinationGone) and problem.reason == ALREADY_OPENED):
                self._answer_beside(heard)
            return
        try:
            self._modals.update(view_id, self._views.details(heard.typed, heard.reply_to))
        except IntegrationError as problem:
            log.info("slack window not filled", error=problem)  # most often closed meanwhile

    def _ask(self, heard: Heard, trigger: str) -> None:
        """Where no window can be opened the command is given without words."""
        try:
            self._modals.ask(trigger, self._views.question(heard.typed, heard.reply_to), heard.reply_to)
        except (CommandInvalid, IntegrationError, StorageUnavailable) as problem:
            log.info("slack question not asked", error=problem)
            if not (isinstance(problem, DestinationGone) and problem.reason == ALREADY_OPENED):
                self._answer_beside(heard)

    def _answer_beside(self, heard: Heard) -> None:
        try:
            accept(self._inbox, heard)
        except StorageUnavailable:
            log.warning("slack press not stored", via=heard.via)

    def _is_repeated(self, key: str) -> bool:
        with self._lock:
            if key in self._seen:
                return True
            self._seen[key] = None
            if len(self._seen) > MOST_SEEN:
                self._seen.popitem(last=False)
            return False
