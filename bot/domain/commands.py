"""Requests by people: the one table of verbs, and how typed words become a command.

The table drives the slash command, the mention, buttons, help text and permissions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from bot.domain.deployment_lines import (
    CHART_USAGE,
    DEPLOY_USAGE,
    KEEP_USAGE,
    LOCK_USAGE,
    PROMOTE_USAGE,
    ROLLBACK_USAGE,
    UNLOCK_USAGE,
    WHATS_IN_USAGE,
)
from bot.errors import CommandInvalid


class Verb(StrEnum):
    """Everything a person can ask for."""

    HELP = "help"
    STATUS = "status"
    BUILDS = "builds"
    SHOW = "show"
    LOG = "log"
    RETRY = "retry"
    CANCEL = "cancel"
    RUN = "run"
    EXPLAIN = "explain"
    WHOAMI = "whoami"
    LINK = "link"
    UNLINK = "unlink"
    HERE = "here"
    SUBSCRIBE = "subscribe"
    MUTE = "mute"
    ISSUE = "issue"
    DEPLOY = "deploy"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    CONFIRM = "confirm"
    APPROVE = "approve"
    REVOKE = "revoke"
    REJECT = "reject"
    KEEP = "keep"
    ABORT = "abort"
    LOCK = "lock"
    UNLOCK = "unlock"
    DEPLOYMENTS = "deployments"
    WHATS_IN = "whats-in"
    DORA = "dora"
    CHART = "chart"


class Target(StrEnum):
    """What a verb's first argument names."""

    NONE = "none"
    PROJECT = "project"
    OPTIONAL_PROJECT = "optional_project"
    DEPLOYMENT = "deployment"
    BUILD = "build"
    FREE = "free"


@dataclass(frozen=True, slots=True)
class VerbSpec:
    """One row of the table. `words` are the accepted spellings, the first English and the first Chinese one shown.

    `changes` marks what alters another system or the bot's own settings: it needs a role that grants the verb (or
    `needs`, where several verbs share one), is deduplicated by effect and audited. What people change about themselves
    is `open_to_all` members.
    """

    verb: Verb
    words: tuple[str, ...]
    chinese: tuple[str, ...]
    target: Target
    usage: str
    changes: bool = False
    needs: str = ""
    open_to_all: bool = False

    @property
    def permission(self) -> str:
        """The word a role's `can` lists; empty when everybody in the workspace may."""
        return (self.needs or self.verb.value) if self.changes and not self.open_to_all else ""


VERBS: tuple[VerbSpec, ...] = (
    VerbSpec(Verb.HELP, ("help", "?"), ("帮助",), Target.FREE, "help [command]"),
    VerbSpec(Verb.STATUS, ("status",), ("状态",), Target.OPTIONAL_PROJECT, "status [project]"),
    VerbSpec(Verb.BUILDS, ("builds",), ("构建",), Target.PROJECT, "builds <project>"),
    VerbSpec(Verb.SHOW, ("show", "details"), ("详情",), Target.BUILD, "show <project>#<number>"),
    VerbSpec(Verb.LOG, ("log", "logs"), ("日志",), Target.BUILD, "log <project>#<number>"),
    VerbSpec(Verb.RETRY, ("retry", "rebuild"), ("重试",), Target.BUILD, "retry <project>#<number>", changes=True),
    VerbSpec(Verb.CANCEL, ("cancel", "stop"), ("取消",), Target.BUILD, "cancel <project>#<number>", changes=True),
    VerbSpec(Verb.RUN, ("run", "build"), ("运行",), Target.PROJECT, "run <project> [name=value …]", changes=True),
    VerbSpec(Verb.EXPLAIN, ("explain", "why"), ("为什么",), Target.BUILD, "explain <project>#<number>"),
    VerbSpec(Verb.ISSUE, ("issue",), ("任务",), Target.PROJECT, "issue <key>"),
    VerbSpec(Verb.WHOAMI, ("whoami",), ("我是谁",), Target.NONE, "whoami"),
    VerbSpec(Verb.LINK, ("link",), ("绑定",), Target.FREE, "link [code]", changes=True, open_to_all=True),
    VerbSpec(Verb.UNLINK, ("unlink",), ("解绑",), Target.FREE, "unlink [account]", changes=True, open_to_all=True),
    VerbSpec(Verb.HERE, ("here",), ("这里",), Target.NONE, "here"),
    VerbSpec(
        Verb.SUBSCRIBE, ("subscribe",), ("订阅",), Target.PROJECT, "subscribe <project> [milestone …]", changes=True
    ),
    VerbSpec(Verb.MUTE, ("mute",), ("静音",), Target.PROJECT, "mute <project>", changes=True),
    VerbSpec(Verb.DEPLOY, ("deploy",), ("部署",), Target.PROJECT, DEPLOY_USAGE, changes=True),
    VerbSpec(Verb.PROMOTE, ("promote",), ("提升",), Target.PROJECT, PROMOTE_USAGE, changes=True, needs="deploy"),
    VerbSpec(Verb.ROLLBACK, ("rollback",), ("回滚",), Target.PROJECT, ROLLBACK_USAGE, changes=True),
    VerbSpec(Verb.CONFIRM, ("confirm",), ("确认",), Target.DEPLOYMENT, "confirm <service>#<number>", changes=True),
    VerbSpec(Verb.APPROVE, ("approve",), ("批准",), Target.DEPLOYMENT, "approve <service>#<number>", changes=True),
    VerbSpec(Verb.REVOKE, ("revoke",), ("撤回",), Target.DEPLOYMENT, "revoke <service>#<number>", changes=True),
    VerbSpec(
        Verb.REJECT, ("reject",), ("拒绝",), Target.DEPLOYMENT, "reject <service>#<number> [reason]", changes=True
    ),
    VerbSpec(Verb.KEEP, ("keep",), ("保留",), Target.DEPLOYMENT, KEEP_USAGE, changes=True, needs="deploy"),
    VerbSpec(
        Verb.ABORT, ("abort",), ("中止",), Target.DEPLOYMENT, "abort <service>#<number>", changes=True, needs="deploy"
    ),
    VerbSpec(Verb.LOCK, ("lock",), ("锁定",), Target.PROJECT, LOCK_USAGE, changes=True),
    VerbSpec(Verb.UNLOCK, ("unlock",), ("解锁",), Target.PROJECT, UNLOCK_USAGE, changes=True),
    VerbSpec(
        Verb.DEPLOYMENTS,
        ("deployments",),
        ("部署记录", "部署情况", "部署列表"),
        Target.OPTIONAL_PROJECT,
        "deployments [service]",
    ),
    VerbSpec(Verb.WHATS_IN, ("whats-in",), ("差异",), Target.PROJECT, WHATS_IN_USAGE),
    VerbSpec(Verb.DORA, ("dora",), ("效能", "指标"), Target.OPTIONAL_PROJECT, "dora [service]"),
    VerbSpec(Verb.CHART, ("chart", "graph"), ("图表",), Target.PROJECT, CHART_USAGE),
)
SPECS: dict[Verb, VerbSpec] = {spec.verb: spec for spec in VERBS}
_BY_WORD = {word: spec for spec in VERBS for word in (*spec.words, *spec.chinese)}

_CHINESE = sorted((word for spec in VERBS for word in spec.chinese), key=len, reverse=True)

_REFERENCE = re.compile(
    r"(?:(?P<kind>[a-z_]+):)?(?:(?P<source>[A-Za-z0-9_.-]+)/)?(?P<project>[^#]+)#(?P<number>[^#@\s]+)"
    r"(?:@(?P<attempt>\d{1,9}))?"
)
_CARD = re.compile(r"#?\d{1,18}")  # `explain` also takes the number of a card, as operators are shown it
_DEPLOYMENT_PREFIX = "deployment:"
MAX_COMMAND_LENGTH = 500


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A verb and its words, as typed or as a button carries them."""

    verb: Verb
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.verb.value, *self.arguments))


@dataclass(frozen=True, slots=True)
class Reference:
    """A build as people write it: `user-service#12`, `buildbot/user-service#12`; a button adds kind and attempt.

    `deployment:user-service#12` is a deployment.
    """

    project: str
    number: str
    source: str | None = None
    attempt: int | None = None
    kind: str | None = None


def parse_command(typed: str) -> CommandLine:
    """The command in `typed` (without the bot's name); CommandInvalid says what is wrong and suggests the nearest."""
    words = _words(typed)
    if not words:
        return CommandLine(Verb.HELP)
    if len(typed) > MAX_COMMAND_LENGTH:
        raise CommandInvalid("too_long")
    spec, rest = _spec_of(words)
    if spec.target in (Target.PROJECT, Target.BUILD, Target.DEPLOYMENT) and not rest:
        raise CommandInvalid("missing_argument", spec.usage)
    if spec.verb is Verb.CANCEL and rest[0].startswith(_DEPLOYMENT_PREFIX):
        spec = SPECS[Verb.ABORT]
    if spec.target is Target.BUILD:
        rest = [" ".join(rest)]  # names of projects may hold blanks
        if spec.verb is not Verb.EXPLAIN or not _CARD.fullmatch(rest[0]):
            reference = parse_reference(rest[0])
            if reference.kind == "deployment" and spec.verb not in (Verb.SHOW, Verb.EXPLAIN):
                raise CommandInvalid("malformed_reference", rest[0][:80])
    return CommandLine(spec.verb, tuple(rest))


def begin_command(typed: str) -> CommandLine | None:
    """The verb that a line begins with and the rest as it stands, whether or not that makes sense; None without one."""
    try:
        spec, rest = _spec_of(_words(typed))
    except (CommandInvalid, IndexError):
        return None
    return CommandLine(spec.verb, tuple(rest))


def verb_of(typed: str) -> Verb | None:
    """The verb that a line begins with, if it begins with one."""
    line = begin_command(typed)
    return line.verb if line is not None else None


def parse_reference(word: str) -> Reference:
    """The build named by `word`; CommandInvalid when it is no reference."""
    found = _REFERENCE.fullmatch(word)
    if found is None:
        raise CommandInvalid("malformed_reference", word[:80])
    attempt = found["attempt"]
    attempts = int(attempt) if attempt else None
    return Reference(found["project"], found["number"], found["source"], attempts, found["kind"])


def _words(typed: str) -> list[str]:
    return typed.replace("\u3000", " ").replace("＃", "#").split()


def _spec_of(words: list[str]) -> tuple[VerbSpec, list[str]]:
    typed = words[0].lstrip("/")
    first = typed.lower()
    if first in _BY_WORD:
        return _BY_WORD[first], words[1:]
    for word in _CHINESE:  # it is written without spaces: 重试user-service#1
        if first.startswith(word):
            return _BY_WORD[word], [typed[len(word) :], *words[1:]]
    near = get_close_matches(first, list(_BY_WORD), n=1, cutoff=0.6)
    raise CommandInvalid("unknown_verb", near[0] if near else None)


class CommandState(StrEnum):
    """How far a command has come."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: `account` is `platform:id`, `team` the workspace or organisation the account belongs to.

    `is_outsider` is a guest, a bot or a person of another workspace: such have no roles. `also` are the person's other
    accounts and their e-mail addresses, for roles may name any of them; `unsure` is a system that could not be asked
    about one of them. Both hold for the moment and are not stored.
    """

    account: str
    name: str
    team: str = ""
    email: str | None = None
    is_outsider: bool = False
    also: frozenset[str] = frozenset()
    unsure: str = ""

    @property
    def platform(self) -> str:
        """The part before the colon."""
        return self.account.partition(":")[0]

    @property
    def is_nameless(self) -> bool:
        """Whether the name is only the platform's id."""
        return self.name in ("", self.account.partition(":")[2])

    @property
    def known_as(self) -> frozenset[str]:
        """Everything by which a role may name the person."""
        return self.also | {self.account} | ({self.email.lower()} if self.email else set())


@dataclass(frozen=True, slots=True)
class ReplyTo:
    """Where an answer goes: the place (a destination key), and a bearer URL while it lives (stored encrypted).

    An empty place is the person's own conversation with the bot.
    """

    platform: str
    place: str
    thread: str | None = None
    url: str | None = None
    url_expires_at: float | None = None
    is_private: bool = True
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A stored request. `dedup_key` is the transport's id of the press or typed line, `via` is `typed` or `press`."""

    id: str
    dedup_key: str
    actor: Actor
    typed: str
    reply_to: ReplyTo
    via: str = "typed"
    state: CommandState = CommandState.ACCEPTED
    tries: int = 0
    accepted_at: float = 0.0
