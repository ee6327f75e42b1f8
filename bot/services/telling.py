"""What trackers are told of deployments and builds: written down with what is told, delivered by a worker.

A tracker that is away delays nobody: what is to be told waits, and is told once however often it is tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from bot.domain.builds import Build
from bot.domain.deployments import Deployment, DeploymentKind, DeploymentState, Version
from bot.domain.issues import RemoteLink
from bot.domain.subjects import SubjectKey
from bot.domain.triggers import Firing
from bot.errors import AuthFailed, DestinationGone, Rejected
from bot.ports import Clock, Store, SubjectRecord, Transaction
from bot.ports.trackers import Relations, Releases, Submission
from bot.ports.tracking import ORIGIN, TrackerTask
from bot.services.deployments.versions import SHORT, moves_on
from bot.services.presenters.issue import Refusal, deployment_comment, refusal_comment
from bot.services.reporting import Reporting
from bot.services.settling import Settling
from bot.services.trackers import TrackerAccess, Trackers, is_among
from bot.telemetry import logger

TELL, REFUSE, SUBMIT, BUILD = "tell", "refuse", "submit", "build"
CLOCK_SLACK_S = 2.0  # a tracker's clock may be behind ours by so much
UNKNOWN_KIND = "unknown_kind"
EVERYBODY = ""  # whose memory what no tracker told is
_MOVES = ("status", "comment")  # in this order: a comment that stands says that the issue was moved
_STEPS = (*_MOVES, "link", "relate", "fix_version")
_S = DeploymentState
_BAD_ENDS = frozenset({_S.FAILED, _S.ROLLED_BACK, _S.ROLLBACK_FAILED, _S.CANCELLED, _S.EXPIRED})

log = logger(__name__)


class Tidings:
    """Writes down, in the transaction of a change, what trackers are to be told of it."""

    def __init__(self, trackers: Trackers, clock: Clock, reporting: Reporting | None = None) -> None:
        self._reporting = reporting
        self._trackers = trackers
        self._clock = clock

    def deployment(self, tx: Transaction, deployment: Deployment) -> None:
        """A deployment came to another state."""
        if deployment.state is _S.REQUESTED:
            return
        if self._reporting is not None:
            self._reporting.deployment(tx, deployment)
        at = self._clock.now().timestamp()
        origin = tx.tracker_tasks.get(EVERYBODY, _origin_key(deployment.number)) or {}
        homes = self._homes(deployment, origin)
        snapshot = deployment.to_json()
        for tracker, keys in homes.items():
            access = self._trackers.get(tracker)
            if access is None:
                continue
            name = f"{deployment.key}@{int(deployment.requested_at)}:{deployment.state}"
            if access.records is not None and _is_shown(tx, deployment):
                body: dict[str, Any] = {"deployment": snapshot, "keys": keys}
                told = f"{SUBMIT}:{name}:{deployment.state_since:.0f}"  # it may come to a state again
                tx.tracker_tasks.add(tracker, told, SUBMIT, body, due_at=at, at=at)
            if deployment.state.is_ended:
                for key in keys:
                    wishes = _wishes(tx, deployment, key, access, origin)
                    if tracker == origin.get("tracker") and key != origin["issue"] and deployment.state is _S.SUCCEEDED:
                        wishes["relate"] = origin["issue"] and origin.get("relates", "")
                    if any(wishes.values()):
                        body = {"issue": key, "deployment": snapshot, "origin": origin.get("issue", "")} | wishes
                        tx.tracker_tasks.add(tracker, f"{TELL}:{name}:{key}", TELL, body, due_at=at, at=at)

    def build(self, tx: Transaction, record: SubjectRecord) -> None:
        """A build came to another state; told where a tracker shows builds at its issues."""
        build = record.build()
        for tracker, access in self._trackers.items():
            if access.records is None or not access.shows_builds:
                continue
            keys = access.rules.find(f"{build.facts.branch or ''}\n{build.facts.commit_title or ''}")
            if keys:
                at = self._clock.now().timestamp()
                body = {"subject": str(record.key), "keys": list(keys)}
                name = f"{BUILD}:{record.key}:{record.folded.generation}.{record.folded.attempt}.{build.status}"
                tx.tracker_tasks.add(tracker, name, BUILD, body, due_at=at, at=at)

    def _homes(self, deployment: Deployment, origin: Mapping[str, Any]) -> dict[str, list[str]]:
        """The issues of a deployment by their tracker, that of the trigger first."""
        homes: dict[str, list[str]] = {}
        if origin.get("issue"):
            homes[origin["tracker"]] = [origin["issue"]]
        for key in deployment.issues:
            tracker = self._trackers.home_of(key)
            if tracker is not None and key not in homes.setdefault(tracker, []):
                homes[tracker].append(key)
        return homes


class Teller:
    """Tells a tracker what was written down; every call may be made again, but an issue is moved once.

    Ends may be told out of their order, for one that failed is tried again later: the comment of an earlier end is
    written all the same, but where an issue stands and what it is linked to follow the last one.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._settling = Settling.of(store)
        self._store = store
        self._clock = clock

    def tell(self, task: TrackerTask, access: TrackerAccess) -> str:
        """Do it, and say what it came to; raises IntegrationError."""
        match task.kind:
            case "tell":
                return self._deployment(task, access)
            case "refuse":
                sections = refusal_comment(Refusal(**task.body["refusal"]), access.locale)
                written = access.tracker.comment(task.body["issue"], sections, task.body["marker"])
                return "done" if written else "done:stood_already"
            case "submit":
                return self._submit(task.body, access)
            case "build":
                return self._build(task.body, access)
            case _:
                return UNKNOWN_KIND

    def _deployment(self, task: TrackerTask, access: TrackerAccess) -> str:
        """Step by step; each is noted before the next one, for a try that failed later must not do it once more.

        People may have passed the issue on since. What we may not do there (403) is tried again, and keeps nothing
        else from being done.
        """
        body = task.body
        done: dict[str, list[str]] = dict(body.get("done", {}))
        open_steps = [step for step in _STEPS if body.get(step) and step not in done]
        refused: AuthFailed | None = None
        for step in open_steps:
            try:
                done[step] = self._step(step, task, access)
            except AuthFailed as problem:
                if step in _MOVES or problem.reason != "http_403":
                    raise
                refused = problem
                continue
            is_more = refused is not None or step != open_steps[-1]
            if is_more and not self._note(task, {**body, "done": done}):
                return "done:lease_lost"
        if refused is not None:
            raise refused
        troubles = [trouble for step in _STEPS for trouble in done.get(step, ())]
        return f"done:{','.join(troubles)}" if troubles else "done"

    def _step(self, step: str, task: TrackerTask, access: TrackerAccess) -> list[str]:
        """Do one thing at the issue; what could not be done there for good, in words of the outcome."""
        body = task.body
        deployment, key = Deployment.from_json(body["deployment"]), body["issue"]
        match step:
            case "status":
                return self._move(deployment, task, access)
            case "comment":
                access.tracker.comment(key, deployment_comment(deployment, access.locale), _marker(deployment))
            case "link" if deployment.run is not None and deployment.run.url:
                access.tracker.link(key, _link(self._last(deployment)))
            case "relate" if access.relations is not None:
                return _relate(access.relations, body["origin"], key, body["relate"])
            case "fix_version" if access.releases is not None:
                return _add_fix_version(access.releases, key, deployment.version.name)
        return []

    def _move(self, deployment: Deployment, task: TrackerTask, access: TrackerAccess) -> list[str]:
        """Move the issue, unless the deployment has come to another end since, or it was moved there already."""
        body, since = task.body, datetime.fromtimestamp(task.created_at - CLOCK_SLACK_S, UTC)
        if self._last(deployment) is not deployment:
            return []
        sections = deployment_comment(deployment, access.locale) if body["comment"] else ()
        key, status = body["issue"], body["status"]
        try:
            access.tracker.transition(key, status, sections, _marker(deployment), since=since)
        except Rejected as problem:  # the workflow's matter: the rest is told all the same
            log.warning("issue not moved", issue=key, status=status, error=problem)
            return [problem.reason]
        return []

    def _note(self, task: TrackerTask, body: Mapping[str, Any]) -> bool:
        return self._settling.settle(task, lambda tx: tx.tracker_tasks.amend(task, body))

    def _last(self, ended: Deployment) -> Deployment:
        """The deployment as it ended last: one that succeeded or failed may have been rolled back since."""
        current = self._store.read(lambda tx: tx.deployments.get(ended.number))
        if current is None or not current.state.is_ended or current.state is ended.state:
            return ended
        return current if current.requested_at == ended.requested_at else ended

    def _submit(self, body: Mapping[str, Any], access: TrackerAccess) -> str:
        if access.records is None:
            return "dropped:not_configured"
        deployment = Deployment.from_json(body["deployment"])
        return _outcome(access.records.submit_deployment(deployment, body["keys"], self._clock.now()))

    def _build(self, body: Mapping[str, Any], access: TrackerAccess) -> str:
        key = SubjectKey.parse(body["subject"])
        record = self._store.read(lambda tx: tx.subjects.get(key))
        if record is None or access.records is None:
            return "dropped:gone"
        build: Build = record.build()
        return _outcome(access.records.submit_build(build, record.revision, body["keys"], self._clock.now()))


def remember_origin(tx: Transaction, number: int, firing: Firing, at: float) -> None:
    """Which issue a deployment was started by, and what its trigger wants to be done there in the end."""
    trigger, change = firing.trigger, firing.change
    body = {
        "tracker": trigger.tracker,
        "issue": change.issue.key if change.issue is not None else "",
        "comments": trigger.comments,
        "on_success": trigger.on_success,
        "on_failure": trigger.on_failure,
        "relates": trigger.relates,
    }
    tx.tracker_tasks.add(EVERYBODY, _origin_key(number), ORIGIN, body, due_at=None, at=at)


def remember_refusal(tx: Transaction, firing: Firing, refusal: Refusal, at: float) -> None:
    """Have the issue told why its change started nothing; a version has no place for that."""
    change = firing.change
    if change.issue is None or not firing.trigger.comments:
        return
    name = sha256(firing.key.encode()).hexdigest()[:16]
    body = {"issue": change.issue.key, "refusal": asdict(refusal), "marker": f"Shipmate trigger {name}"}
    tx.tracker_tasks.add(firing.trigger.tracker, f"{REFUSE}:{name}", REFUSE, body, due_at=at, at=at)


def _wishes(
    tx: Transaction, deployment: Deployment, key: str, access: TrackerAccess, origin: Mapping[str, Any]
) -> dict[str, bool | str]:
    """What is to be done at an issue when a deployment ends: as its trigger says, and as the tracker's settings do.

    One that never began is nothing to the issues that only happen to be in it.
    """
    environment, state = deployment.environment, deployment.state
    is_its_own = origin.get("issue") == key
    is_good = state is _S.SUCCEEDED
    status = ""
    if is_its_own and is_good:
        status = origin["on_success"]
    elif is_its_own and state in _BAD_ENDS:
        status = origin["on_failure"]
    began = deployment.started_at > 0
    is_new = is_good and deployment.kind is not DeploymentKind.ROLLBACK and _is_named(deployment.version)
    is_version = is_new and is_among(environment, access.told.fix_version)
    return {
        "comment": (is_its_own and origin["comments"]) or (began and is_among(environment, access.told.comment)),
        "status": status,
        "link": began and is_among(environment, access.told.link),
        "fix_version": is_version and not moves_on(tx, deployment.service, deployment.version),
    }


def _is_shown(tx: Transaction, deployment: Deployment) -> bool:
    """Whether anybody else sees it: a preview that ended without being confirmed was its requester's alone."""
    return not deployment.state.is_ended or deployment.started_at > 0 or tx.subjects.get(deployment.key) is not None


def _is_named(version: Version) -> bool:
    """Whether people gave it its name; a commit or a build's number is no version of a tracker's project."""
    name, commit = version.name, version.commit
    return "#" not in name and name not in (commit, commit[:SHORT])


def _origin_key(number: int) -> str:
    return f"deployment:{number}"


def _marker(deployment: Deployment) -> str:
    """What a comment ends in: the same words for the same end of the same deployment."""
    return f"Shipmate {deployment.key.short} {deployment.state} {int(deployment.requested_at)}"


def _link(deployment: Deployment) -> RemoteLink:
    assert deployment.run is not None
    return RemoteLink(
        global_id=f"shipmate:{deployment.key}@{int(deployment.requested_at)}",
        url=deployment.run.url,
        title=f"{deployment.service} {deployment.version.name} → {deployment.environment}",
        summary=deployment.state.value.replace("_", " "),
        is_done=deployment.state is _S.SUCCEEDED,
    )


def _add_fix_version(releases: Releases, key: str, name: str) -> list[str]:
    """Say which version an issue is in; what the tracker does not let us do is no reason to stop."""
    try:
        releases.add_fix_version(key, name)
    except Rejected as problem:
        log.warning("fix version not added", issue=key, version=name, error=problem)
        return ["fix_version"]
    return []


def _relate(relations: Relations, origin: str, key: str, kind: str) -> list[str]:
    """Link an issue that was deployed with the one that asked for it; the same holds as for versions."""
    try:
        relations.relate(origin, key, kind)
    except (Rejected, DestinationGone) as problem:
        log.warning("issues not linked", issue=origin, other=key, error=problem)
        return ["relate"]
    return []


def _outcome(submission: Submission) -> str:
    """What was accepted is not yet shown: what was refused, and keys nobody knows, are said."""
    if submission.rejected:
        log.warning("not shown at issues", rejected=submission.rejected, unknown=submission.unknown_keys)
        return f"rejected:{submission.rejected[0]}"
    return "done:unknown_keys" if submission.unknown_keys else "done"
