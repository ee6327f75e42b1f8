"""What people say and press in Slack, handed to the command inbox before it is acknowledged.

Payloads: https://docs.slack.dev/interactivity/handling-user-interaction and https://docs.slack.dev/apis/events-api.
Between a request and its acknowledgement only the database is asked. What could not be stored is answered by kind:
a slash command is never sent again by Slack, so the person is told to try again; a press is answered with an error,
which Slack shows beside the button; an event is answered with an error, and Slack sends it again. What calls Slack
(windows, asking who we are) waits until the acknowledgement is on its way.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.domain.commands import Verb, parse_command
from bot.errors import CommandInvalid, PayloadInvalid, StorageUnavailable
from bot.i18n import translate
from bot.ports import Clock
from bot.telemetry import logger
from handlers.inbox import Heard, Inbox, accept
from handlers.slack_payloads import ACTION_PREFIX, Own, Translator
from handlers.slack_windows import Windows

if TYPE_CHECKING:
    from slack_bolt import App
    from slack_bolt.response import BoltResponse
    from slack_sdk import WebClient

NOT_STORED = "I could not store that, please try again."
NO_SENSE = "malformed_payload"
MALFORMED = 400
RETRY_LATER = 503
RETRY_AFTER_S = 5

log = logger(__name__)
# Bolt logs whole payloads, which carry response addresses and triggers: what matters is logged here instead.
_QUIET = logging.Logger("slack_bolt.quiet", level=logging.CRITICAL)
_QUIET.addHandler(logging.NullHandler())

_AFTER = "shipmate_after"
_WRONG_SHAPES = (AttributeError, LookupError, TypeError, ValueError)  # what reading a payload of another shape raises

Ack = Callable[..., "BoltResponse"]
Json = Mapping[str, Any]
Work = Callable[[], None]


def build_app(
    *,
    client: WebClient,
    command: str,
    inbox: Inbox,
    windows: Windows,
    clock: Clock,
    own: Own | None = None,
    locale: str = "en",
) -> App:
    """A Bolt app that hears everything we subscribe to; nothing is called on the network while it is built.

    `command` is the slash command with its slash, `locale` the language of the one sentence said here. Bolt is loaded
    here, not at import: it takes a seventh of a second.
    """
    from slack_bolt import App
    from slack_bolt.authorization import AuthorizeResult

    ourselves = own or Own()

    def authorize() -> AuthorizeResult:  # in place of Bolt's own, which calls auth.test before it acknowledges
        return AuthorizeResult(enterprise_id=None, team_id=ourselves.team or None, bot_token=client.token)

    app = App(
        name="shipmate",
        logger=_QUIET,
        client=client,
        request_verification_enabled=False,  # whoever calls `dispatch` has done that
        token_verification_enabled=False,
        authorize=authorize,
        # Bolt acknowledges events before their listener runs unless it is told to wait; listeners here only store.
        process_before_response=True,
    )
    door = Door(client, inbox, windows, Translator(ourselves, clock), locale)
    app.command(command)(door.on_command)
    app.action(re.compile(f"^{re.escape(ACTION_PREFIX)}"))(door.on_press)
    app.action(re.compile(""))(_only_ack)
    app.view(re.compile(""))(door.on_submit)
    app.view_closed(re.compile(""))(_only_ack)
    app.event("app_mention")(door.on_mention)
    app.event("message")(door.on_message)
    app.event("member_joined_channel")(door.on_joined)
    app.event(re.compile(""))(_only_ack)
    app.error(_on_error)
    return app


@dataclass(frozen=True, slots=True)
class Answered:
    """What Bolt answers, and what is to be done once that is on its way."""

    response: BoltResponse
    after: tuple[Work, ...] = ()


def dispatch(app: App, body: Json, headers: Json | None = None) -> Answered:
    """Hand an authenticated payload to Bolt, as an object: it takes a form in which the word payload occurs for empty.

    Never raises; a payload of the wrong shape is answered with 400, what else went wrong with 503.
    """
    from slack_bolt.request import BoltRequest

    try:
        # Bolt's name for a payload that came as an object and whose sender is known.
        request = BoltRequest(mode="socket_mode", body=dict(body), headers=dict(headers or {}))
        response = app.dispatch(request)
    except _WRONG_SHAPES as problem:
        return Answered(_on_error(problem))
    return Answered(response, tuple(request.context.get(_AFTER, ())) if response.status == 200 else ())


class Door:
    """Bolt's listeners; each stores what was heard, then acknowledges."""

    def __init__(
        self, client: WebClient, inbox: Inbox, windows: Windows, translator: Translator, locale: str = "en"
    ) -> None:
        self._client = client
        self._inbox = inbox
        self._windows = windows
        self._translator = translator
        self._locale = locale

    def on_command(self, ack: Ack, body: Json, context: dict[str, Any]) -> None:
        """A slash command; its answer comes over the response address."""
        if not self._is_stored(self._translator.of_command(body)):
            ack(f"⚠️ {translate(self._locale, NOT_STORED)}")
            return
        ack()
        self._learn_who_we_are(context)

    def on_press(self, ack: Ack, body: Json, context: dict[str, Any]) -> BoltResponse | None:
        """A control on a card: a command, or a window; links need no answer."""
        heard = self._translator.of_press(body)
        if heard is None:
            ack()
            return None
        if body.get("trigger_id") and _opens_window(heard.typed):
            trigger, view = str(body["trigger_id"]), body.get("container", {}).get("view_id")
            _afterwards(context, lambda: self._windows.show(heard, trigger=trigger, view_id=view))
        elif body.get("trigger_id") and _asks_why(heard.typed) and body.get("channel"):  # no window over a window
            asked = str(body["trigger_id"])
            _afterwards(context, lambda: self._windows.ask(heard, trigger=asked))
        elif not self._is_stored(heard):
            return _again()
        ack()
        self._learn_who_we_are(context)
        return None

    def on_submit(self, ack: Ack, body: Json) -> None:
        """The words of a window that asked for some: with them its press is a command."""
        heard = self._translator.of_submission(body)
        if heard is not None and not self._is_stored(heard):
            blocks = body["view"]["state"]["values"]
            ack(response_action="errors", errors=dict.fromkeys(blocks, translate(self._locale, NOT_STORED)))
            return
        ack()

    def on_mention(self, ack: Ack, body: Json) -> BoltResponse | None:
        """Our name in a channel."""
        return self._take_event(ack, self._translator.of_mention(body))

    def on_message(self, ack: Ack, body: Json) -> BoltResponse | None:
        """A line in a direct conversation."""
        return self._take_event(ack, self._translator.of_message(body))

    def on_joined(self, ack: Ack, body: Json) -> BoltResponse | None:
        """Somebody came into a channel; when it is us, we say what we can do."""
        return self._take_event(ack, self._translator.of_joined(body))

    def _take_event(self, ack: Ack, heard: Heard | None) -> BoltResponse | None:
        if heard is not None and not self._is_stored(heard):
            return _again()
        ack()
        return None

    def _is_stored(self, heard: Heard) -> bool:
        try:
            is_new = accept(self._inbox, heard)
        except StorageUnavailable:
            log.warning("slack request not stored", via=heard.via)
            return False
        log.info("slack command accepted" if is_new else "slack command repeated", via=heard.via)
        return True

    def _learn_who_we_are(self, context: dict[str, Any]) -> None:
        """Events say whose app we are; commands and presses do not, so that Slack is asked, in the background."""
        own = self._translator.own
        if not own.is_known:
            _afterwards(context, lambda: self._windows.later(lambda: own.ask(self._client)))


def _afterwards(context: dict[str, Any], work: Callable[[], object]) -> None:
    """Keep `work`, which must return at once, until the acknowledgement is on its way."""
    context.setdefault(_AFTER, []).append(work)


def _opens_window(typed: str) -> bool:
    try:
        return parse_command(typed).verb is Verb.SHOW
    except CommandInvalid:
        return False


def _asks_why(typed: str) -> bool:
    """Whether it rejects a deployment without a reason."""
    try:
        line = parse_command(typed)
    except CommandInvalid:
        return False
    return line.verb is Verb.REJECT and len(line.arguments) == 1


def _again() -> BoltResponse:
    """An answer that acknowledges nothing, over HTTP and over a socket alike."""
    from slack_bolt.response import BoltResponse

    return BoltResponse(status=RETRY_LATER, body="", headers={"retry-after": [str(RETRY_AFTER_S)]})


def _only_ack(ack: Ack) -> None:
    ack()


def _on_error(error: Exception) -> BoltResponse:
    """A payload that makes no sense, or a mistake of ours: logged without the payload, not acknowledged."""
    from slack_bolt.response import BoltResponse

    if isinstance(error, PayloadInvalid):
        log.warning("slack request refused", reason=str(error))
        return BoltResponse(status=MALFORMED, body={"error": str(error)})
    log.error("slack request failed", error=error)
    return BoltResponse(status=MALFORMED, body={"error": NO_SENSE}) if isinstance(error, _WRONG_SHAPES) else _again()
