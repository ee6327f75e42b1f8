"""The API: programs ask for deployments, and about them. Every request is signed, as docs/api.md says.

What changes something becomes a command of the client's, stored and acknowledged here, permitted and carried out like
one that a person typed. No request waits for another system.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from flask import Blueprint, Response, json, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import HTTPException

from bot.complaints import complaints, instead
from bot.domain.commands import Actor, ReplyTo
from bot.domain.deployments import Deployment
from bot.errors import CommandInvalid, InputError, PayloadInvalid, SignatureInvalid, StorageUnavailable
from bot.ports import Clock, CommandRecord, Store
from bot.services.deployments.answers import DeploymentAnswers
from bot.services.presenters.deployment_words import said_of
from bot.services.why import invalid_words, why_of
from bot.signatures import SignedDelivery, verify
from handlers.gate import Gate
from handlers.inbox import Heard, Inbox, accept

PLATFORM = "api"
RETRY_AFTER_S = 5
_WORD = r"^[^\s\x00-\x1f]{1,100}$"


class DeploymentBody(BaseModel):
    """`POST /api/deployments`: each a single word but for the reason."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: str = Field(pattern=_WORD)
    environment: str = Field(pattern=_WORD)
    version: str = Field(pattern=_WORD)
    reason: str = Field(default="", max_length=200)

    @property
    def line(self) -> str:
        """The same as a person would type it."""
        because = f" because {' '.join(self.reason.split())}" if self.reason.strip() else ""
        return f"deploy {self.service} {self.version} to {self.environment}{because}"


def api(
    clients: Mapping[str, Sequence[bytes]],
    places: Mapping[str, Sequence[str]],
    inbox: Inbox,
    store: Store,
    answers: DeploymentAnswers,
    clock: Clock,
    *,
    gate: Gate | None = None,
) -> Blueprint:
    """`/api/<client>/…` for each configured client, by its signing keys; `places` are each service's environments."""
    door = Blueprint("api", __name__)
    if gate is not None:
        gate.guard(door, _later)

    def authentic(client: str) -> SignedDelivery:
        return _authentic(clients.get(client), clock)

    @door.post("/api/<client>/deployments")
    def deploy(client: str) -> Response:
        delivery = authentic(client)
        wish = _parsed(request.get_data())
        _must_exist(wish, places)
        account = f"{PLATFORM}:{client}"
        heard = Heard(
            typed=wish.line,
            dedup_key=f"{account}:{delivery.key}"[:200],
            actor=Actor(account, client),
            reply_to=ReplyTo(PLATFORM, account),
            via=PLATFORM,
        )
        is_new = accept(inbox, heard)
        answer = jsonify({"request": delivery.key, "status": "accepted" if is_new else "duplicate"})
        answer.status_code = 202 if is_new else 200
        return answer

    @door.get("/api/<client>/requests/<key>")
    def what_became_of(client: str, key: str) -> Response:
        authentic(client)
        dedup_key = f"{PLATFORM}:{client}:{key}"[:200]
        found = store.read(lambda tx: tx.commands.known(dedup_key))
        return jsonify(_request(found)) if found is not None else _missing()

    @door.get("/api/<client>/deployments/<int(max=999999999999):number>")
    def show(client: str, number: int) -> Response:
        authentic(client)
        found = store.read(lambda tx: tx.deployments.get(number))
        return jsonify(_deployment(found)) if found is not None else _missing()

    @door.get("/api/<client>/dora")
    def dora(client: str) -> Response:
        authentic(client)
        figures = answers.dora(request.args.get("service"))
        return jsonify([{**asdict(one), "per_day": one.per_day, "failure_rate": one.failure_rate} for one in figures])

    for status in (404, 405, 413):
        door.app_errorhandler(status)(_in_json)
    door.register_error_handler(InputError, _refused)
    door.register_error_handler(StorageUnavailable, lambda _: _later())
    return door


def _authentic(keys: Sequence[bytes] | None, clock: Clock) -> SignedDelivery:
    if keys is None:
        raise SignatureInvalid("there is no such client")
    headers = {name.lower(): value for name, value in request.headers.items()}
    return verify(keys, headers, request.get_data(), clock.now())


def _parsed(body: bytes) -> DeploymentBody:
    try:
        return DeploymentBody.model_validate_json(body)
    except ValidationError as problem:
        wrong = complaints(problem, DeploymentBody, noun="field")
        said = (f"{'.'.join(str(part) for part in where) or 'body'}: {words}" for where, words in wrong)
        raise PayloadInvalid("; ".join(said)) from None


def _must_exist(wish: DeploymentBody, places: Mapping[str, Sequence[str]]) -> None:
    """PayloadInvalid for a service or an environment that is not configured."""
    if wish.service not in places:
        raise PayloadInvalid(f"service: {wish.service!r} is no service{instead(wish.service, places)}")
    known = places[wish.service]
    if wish.environment not in known:
        words = f"{wish.service} is not deployed to {wish.environment!r}"
        raise PayloadInvalid(f"environment: {words}{instead(wish.environment, known)}")


def _request(record: CommandRecord) -> dict[str, Any]:
    """What became of a request; `reason` and `words` say why one that came to nothing did."""
    reason, words = why_of(record.result, record.command.state)
    told = {"state": record.command.state.value, "deployment": record.result.get("deployment")}
    return {**told, "reason": reason or None, "words": words or None}


def _deployment(deployment: Deployment) -> dict[str, Any]:
    """What a program may know: everything but the accounts of people."""
    return {
        "number": deployment.number,
        "service": deployment.service,
        "environment": deployment.environment,
        "version": deployment.version.name,
        "commit": deployment.version.commit,
        "previous": deployment.previous.name if deployment.previous else None,
        "state": deployment.state.value,
        "outcome": deployment.outcome or None,
        "detail": deployment.detail or None,
        "words": " ".join(said_of(deployment, "en")) or None,
        "reason": deployment.reason or None,
        "run": deployment.run.url or None if deployment.run else None,
        "approvals": len(deployment.approvals),
        "approvals_needed": deployment.terms.approvals,
        "approvals_struck": [{"at": one.at, "reason": one.reason} for one in deployment.struck],
        "checks": {check.name: check.verdict.value if check.verdict else None for check in deployment.checks},
        "figures": dict(deployment.figures),
        "requested_at": deployment.requested_at,
        "started_at": deployment.started_at or None,
        "ended_at": deployment.ended_at or None,
        "rolled_back_by": deployment.rolled_back_by or None,
    }


def _refused(problem: Exception) -> Response:
    refused = cast("InputError", problem)
    words = invalid_words(refused) if isinstance(refused, CommandInvalid) else str(refused)
    answer = jsonify({"error": words})
    answer.status_code = refused.status
    return answer


def _in_json(problem: Exception) -> Response:
    """What the web door itself refuses, as the API answers everything; other doors' answers stay as they are."""
    refused = cast("HTTPException", problem)
    answer = cast("Response", refused.get_response())
    if request.path.startswith("/api/"):
        answer.data = json.dumps({"error": (refused.name or "").lower()}) + "\n"
        answer.content_type = "application/json"
    return answer


def _missing() -> Response:
    answer = jsonify({"error": "there is none"})
    answer.status_code = 404
    return answer


def _later() -> Response:
    answer = jsonify({"error": "try again later"})
    answer.status_code, answer.headers["Retry-After"] = 503, str(RETRY_AFTER_S)
    return answer
