"""A version of a service on its way to an environment: an explicit state machine.

Nothing here reads a clock or a network: every step takes the instant it happens at and gives the next snapshot, or
raises Conflict with a sentence for the person who asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from bot.domain.checks import CheckProgress
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.errors import Conflict

SOURCE = "shipmate"
ASKED = "chat"  # the origin of what a person, or a program, asked for itself
MOST_WHOLE = 100  # commits that are kept with all that is known of them; of older ones the title has to do
_TITLE = 120  # characters of a title that are kept of those
_KEPT = "kept"  # stood in the question's place when it was answered, before it was known for which checks
CHECKS = "checks:"  # what a question about them begins with


class DeploymentState(StrEnum):
    """How far a deployment has come."""

    REQUESTED = "requested"
    AWAITING_APPROVAL = "awaiting_approval"
    QUEUED = "queued"
    DEPLOYING = "deploying"
    VERIFYING = "verifying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"

    @property
    def is_waiting(self) -> bool:
        """Whether nothing was started yet."""
        return self in WAITING

    @property
    def is_active(self) -> bool:
        """Whether it may be changing the environment at this moment: one at a time for each."""
        return self in ACTIVE

    @property
    def is_ended(self) -> bool:
        """Whether it goes on by itself no more."""
        return self not in WAITING and self not in ACTIVE and self is not DeploymentState.ROLLING_BACK


_S = DeploymentState
WAITING = frozenset({_S.REQUESTED, _S.AWAITING_APPROVAL, _S.QUEUED})
ACTIVE = frozenset({_S.DEPLOYING, _S.VERIFYING})
FAILED_STATES = frozenset({_S.FAILED, _S.ROLLING_BACK, _S.ROLLED_BACK, _S.ROLLBACK_FAILED})
MOVES: Mapping[DeploymentState, frozenset[DeploymentState]] = {
    _S.REQUESTED: frozenset({_S.AWAITING_APPROVAL, _S.QUEUED, _S.CANCELLED, _S.EXPIRED, _S.SUPERSEDED}),
    _S.AWAITING_APPROVAL: frozenset({_S.QUEUED, _S.CANCELLED, _S.EXPIRED, _S.SUPERSEDED}),
    _S.QUEUED: frozenset({_S.AWAITING_APPROVAL, _S.DEPLOYING, _S.FAILED, _S.CANCELLED, _S.EXPIRED, _S.SUPERSEDED}),
    _S.DEPLOYING: frozenset({_S.QUEUED, _S.VERIFYING, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED}),
    _S.VERIFYING: frozenset({_S.SUCCEEDED, _S.FAILED}),
    _S.SUCCEEDED: frozenset({_S.ROLLING_BACK, _S.ROLLED_BACK}),
    _S.FAILED: frozenset({_S.ROLLING_BACK}),
    _S.CANCELLED: frozenset(),
    _S.ROLLING_BACK: frozenset({_S.ROLLED_BACK, _S.ROLLBACK_FAILED, _S.SUCCEEDED}),
    _S.ROLLED_BACK: frozenset(),
    _S.ROLLBACK_FAILED: frozenset({_S.ROLLING_BACK}),
    _S.EXPIRED: frozenset(),
    _S.SUPERSEDED: frozenset(),
}


class DeploymentKind(StrEnum):
    """Why a version is deployed."""

    DEPLOY = "deploy"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Version:
    """A version as people name it, with the commit and the build (the text of its key) that it was found as."""

    name: str
    commit: str = ""
    build: str = ""


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asked: every account joined with this one counts as the same person."""

    account: str
    name: str


@dataclass(frozen=True, slots=True)
class Approval:
    """One decision about one deployment, by a person who may decide.

    Of one that was struck out, `at` and `reason` are when and why.
    """

    account: str
    name: str
    at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """The run that carries a deployment out: `asked_at` is when it was meant to start, before the first call was made.

    `request` is the system's id once its answer came, `build` the run's key, `url` its page. Until `certain_at` a call
    whose answer is not known may still start it: so long no other one is made. It was asked of `pipeline` at `source`,
    whatever the configuration says by now; both are empty in what older versions stored, and in what was queued anew
    because its order never arrived: it is looked for once more.
    """

    asked_at: float
    request: str = ""
    build: str = ""
    url: str = ""
    certain_at: float = 0.0
    source: str = ""
    pipeline: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One commit between two versions; `issues` are the keys found in its title and branch."""

    commit: str
    title: str
    author: str = ""
    issues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Undoing:
    """What a way back takes away: the latest of so many commits, the issues that they name, and whether that is all.

    `irreversible` are the titles of those that cannot be undone, and over which it goes all the same. `back_from` is
    the build that it leads away from where that was the later one by its commits, and not by its number.
    """

    changes: tuple[Change, ...] = ()
    count: int = 0
    issues: tuple[str, ...] = ()
    is_known: bool = True
    irreversible: tuple[str, ...] = ()
    back_from: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What was decided when it was asked for: a later change of the configuration can only make it stricter.

    `approvals` people out of the roles `approvers` must agree before `expires_at` (seconds since 1970); `called` are
    the accounts that are told.
    """

    approvals: int = 0
    approvers: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    expires_at: float = 0.0
    is_break_glass: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment as it stands; times are seconds since 1970 (UTC), 0 where something has not happened.

    `outcome` is the named reason of the state (`checks_failed`, `rejected`, `locked` …), `detail` a sentence about
    it in English or in another system's own words. `question` is what a person is asked while it goes on, since
    `asked_at` where that is about checks, `kept` are the checks that they have answered for. `figures` tell how the
    service did while it was verified, by the names of `bot.ports.metrics.Figure`. `undone_from` is the state that
    its last rollback found it in, `rollback_outcome` and `rollback_detail` are what became of one that failed, or with
    the number of which other one it was undone together.
    `let_at` is when the calendar that kept it waiting last let it begin, `unseen_since` since when its CI system
    tells nothing, or does not do what it is told, `put_off_since` when an order for it came to nothing first.
    `brought` are all the commits that it brings only if `changes_known`; else they are asked for again at
    `learn_at`, or never (0). `aside` are commits of other branches that could not be undone, should they be part of
    it. `undoes` is what a rollback, or an older version, takes away. People were `asked_again` so often to approve it.
    Its version was found as a build of `branch`. With `has_locked` it is a way back by hand whose end locked.
    """

    number: int
    service: str
    environment: str
    version: Version
    requester: Requester
    requested_at: float
    kind: DeploymentKind = DeploymentKind.DEPLOY
    origin: str = ASKED
    reason: str = ""
    state: DeploymentState = DeploymentState.REQUESTED
    state_since: float = 0.0
    revision: int = 1
    previous: Version | None = None
    terms: Terms = Terms()
    approvals: tuple[Approval, ...] = ()
    rejection: Approval | None = None
    struck: tuple[Approval, ...] = ()
    reminded_at: float = 0.0
    run: Run | None = None
    checks: tuple[CheckProgress, ...] = ()
    changes: tuple[Change, ...] = ()
    issues: tuple[str, ...] = ()
    started_at: float = 0.0
    ended_at: float = 0.0
    outcome: str = ""
    detail: str = ""
    question: str = ""
    asked_at: float = 0.0
    stop_asked_by: str = ""
    rollback_of: int = 0
    rolled_back_by: int = 0
    undone_from: DeploymentState | None = None
    let_at: float = 0.0
    not_rolled_back: str = ""
    figures: tuple[tuple[str, float], ...] = ()
    kept: tuple[str, ...] = ()
    rollback_outcome: str = ""
    rollback_detail: str = ""
    unseen_since: float = 0.0
    aside: tuple[Change, ...] = ()
    changes_known: bool = True
    further: tuple[str, ...] = ()
    learn_at: float = 0.0
    undoes: Undoing | None = None
    put_off_since: float = 0.0
    asked_again: int = 0
    branch: str = ""
    has_locked: bool = False

    @property
    def brought(self) -> tuple[Change, ...]:
        """Its commits, newest first: `changes`, and those older ones of which less is kept."""
        return (
            *self.changes,
            *(Change(commit, title) for commit, _, title in (one.partition(" ") for one in self.further)),
        )

    @property
    def key(self) -> SubjectKey:
        """The subject that its cards show."""
        return SubjectKey(SubjectKind.DEPLOYMENT, SOURCE, self.service, str(self.number))

    @property
    def is_loud(self) -> bool:
        """Whether everybody is told of it, wherever deployments like it are shown: nobody agreed to it."""
        return self.terms.is_break_glass and self.started_at > 0

    @property
    def is_approved(self) -> bool:
        """Whether enough people have agreed."""
        return len(self.approvals) >= self.terms.approvals

    @property
    def asked_about(self) -> tuple[str, ...]:
        """The checks that people are asked about."""
        names = self.question.removeprefix(CHECKS)
        return tuple(names.split(",")) if names != self.question else ()

    def to_json(self) -> dict[str, Any]:
        """JSON values for the database."""
        return _plain(self)  # type: ignore[no-any-return]  # a dataclass becomes a dict

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`; unknown names are ignored, so that newer rows can be read."""
        known = {name: stored[name] for name in cls.__slots__ if name in stored}
        known["version"], known["requester"] = Version(**stored["version"]), Requester(**stored["requester"])
        known["kind"], known["state"] = DeploymentKind(stored["kind"]), DeploymentState(stored["state"])
        known["previous"] = Version(**stored["previous"]) if stored.get("previous") else None
        known["undone_from"] = DeploymentState(stored["undone_from"]) if stored.get("undone_from") else None
        terms = stored.get("terms", {})
        lists = {name: tuple(terms.get(name, ())) for name in ("approvers", "called")}
        known["terms"] = Terms(**{**terms, **lists})
        known["approvals"] = tuple(Approval(**one) for one in stored.get("approvals", ()))
        known["struck"] = tuple(Approval(**one) for one in stored.get("struck", ()))
        known["rejection"] = Approval(**stored["rejection"]) if stored.get("rejection") else None
        run = stored.get("run") or {}
        known["run"] = Run(**{name: run[name] for name in Run.__slots__ if name in run}) if run else None
        known["checks"] = tuple(CheckProgress.from_json(one) for one in stored.get("checks", ()))
        known |= {name: _changes_in(stored.get(name, ())) for name in ("changes", "aside")}
        if undoes := stored.get("undoes"):
            told = {name: undoes[name] for name in Undoing.__slots__ if name in undoes}
            told |= {name: tuple(undoes.get(name, ())) for name in ("issues", "irreversible")}
            known["undoes"] = Undoing(**{**told, "changes": _changes_in(undoes["changes"])})
        known["issues"] = tuple(stored.get("issues", ()))
        known["figures"] = tuple((name, value) for name, value in stored.get("figures", ()))
        for name in ("kept", "further"):
            known[name] = tuple(stored.get(name, ()))
        if stored.get("question") == _KEPT:
            known["question"], known["kept"] = "", tuple(one.name for one in known["checks"] if not one.is_running)
        return cls(**known)


def _changes_in(stored: Iterable[Mapping[str, Any]]) -> tuple[Change, ...]:
    return tuple(Change(**{**one, "issues": tuple(one.get("issues", ()))}) for one in stored)


def _plain(value: Any) -> Any:  # noqa: ANN401 - a field of the types above
    match value:
        case StrEnum():
            return value.value
        case CheckProgress():
            return value.to_json()
        case tuple():
            return [_plain(item) for item in value]
        case str() | int() | float() | None:
            return value
        case _:
            return {name: _plain(getattr(value, name)) for name in value.__slots__}


def move(
    deployment: Deployment,
    to: DeploymentState,
    at: float,
    *,
    outcome: str = "",
    detail: str = "",
    **changed: Any,  # noqa: ANN401 - further fields of a Deployment
) -> Deployment:
    """The deployment in its next state; Conflict where the machine knows no such way."""
    if to not in MOVES[deployment.state]:
        raise too_late(deployment)
    if to is DeploymentState.DEPLOYING:
        _must_be_approved(deployment)
        changed.setdefault("started_at", at)
    after = replace(
        deployment,
        state=to,
        state_since=at,
        outcome=outcome,
        detail=detail,
        revision=deployment.revision + 1,
        **changed,
    )
    return replace(after, ended_at=max(at, after.started_at)) if to.is_ended and not deployment.ended_at else after


def note(deployment: Deployment, **changed: Any) -> Deployment:  # noqa: ANN401 - fields of a Deployment
    """The deployment with something new known of it, in the same state."""
    return replace(deployment, revision=deployment.revision + 1, **changed)


def bringing(deployment: Deployment, brought: Iterable[Change]) -> Deployment:
    """The same deployment with these as all its commits, newest first."""
    whole, older = (listed := tuple(brought))[:MOST_WHOLE], listed[MOST_WHOLE:]
    return replace(deployment, changes=whole, further=tuple(f"{one.commit} {one.title[:_TITLE]}" for one in older))


def _must_be_approved(deployment: Deployment) -> None:
    """The last gate before anything starts, whatever way led here."""
    if not (deployment.is_approved or deployment.terms.is_break_glass):
        needed = deployment.terms.approvals
        missing = needed - len(deployment.approvals)
        raise Conflict(
            "{deployment} lacks {missing} of {needed} approvals.",
            deployment=deployment.key.short,
            missing=missing,
            needed=needed,
        )


def too_late(deployment: Deployment) -> Conflict:
    """The refusal of what its state does not allow any more."""
    return Conflict("Too late for that: {deployment} has gone on.", deployment=deployment.key.short)
