"""How calls to Jira are authorised: a header that stays, or an access token that is fetched and renewed.

OAuth 2.0 for service accounts and for people (3LO): https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/.
A refresh token is good once: each renewal brings its successor, which is stored before anything is done with it.
Whoever did not get or keep that may exchange the one before again within ten minutes; later that ends all of them:
https://community.developer.atlassian.com/t/the-old-access-token-will-be-revoked-during-the-refresh-token-exchange/83103
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

import requests

from bot.errors import AuthFailed, IntegrationError, Unavailable
from bot.ports import Clock
from bot.ports.trackers import StoredToken, TokenStore
from bot.telemetry import remember_secrets
from integrations.http import Answer, call, raise_for_status
from integrations.jira.config import SYSTEM, Config, Method
from integrations.texts import clean_line

MARGIN_S = 60.0
HOLD_S = 20.0
RETRY_S = 2.0
DEFAULT_LIFE_S = 3600.0


class Authorizer(Protocol):
    """Gives the Authorization header of the next call."""

    def header(self, refused: str | None = None) -> str:
        """The header's value; another one than `refused`, where that can be had. Raises IntegrationError."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """A header that never changes."""

    value: str

    def header(self, refused: str | None = None) -> str:
        """The value; AuthFailed when it was refused."""
        if refused is not None:
            raise AuthFailed(SYSTEM, "http_401")
        return self.value


@dataclass(frozen=True, slots=True)
class Access:
    """An access token, good until `ends_at` (seconds since 1970), and what the next one is fetched with."""

    token: str
    ends_at: float
    refresh: str = ""

    @property
    def header(self) -> str:
        """As it is sent."""
        return f"Bearer {self.token}"


class ClientCredentials:
    """Access tokens for an id and a secret; they are kept in memory, for another one can be had at any time."""

    def __init__(
        self,
        session: requests.Session,
        clock: Clock,
        *,
        token_url: str,
        client_id: str,
        client_secret: str,
        is_form: bool = False,
    ) -> None:
        self._session = session
        self._clock = clock
        self._token_url = token_url
        self._fields = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        self._is_form = is_form
        self._access: Access | None = None
        self._lock = threading.Lock()

    def header(self, refused: str | None = None) -> str:
        """See `Authorizer`."""
        with self._lock:
            now = self._clock.now().timestamp()
            if self._access is None or self._access.header == refused or self._access.ends_at - MARGIN_S <= now:
                fields = self._fields if self._is_form else {**self._fields, "audience": "api.atlassian.com"}
                self._access = fetch(self._session, self._token_url, fields, now, is_form=self._is_form)
            return self._access.header


class RefreshToken:
    """Access tokens for a refresh token that changes with every use; all processes share what the store holds.

    The first one comes from the configuration. Putting another one there begins anew.
    """

    def __init__(
        self,
        session: requests.Session,
        clock: Clock,
        store: TokenStore,
        *,
        tracker: str,
        token_url: str,
        client_id: str,
        client_secret: str,
        first: str,
    ) -> None:
        self._session = session
        self._clock = clock
        self._store = store
        self._token_url = token_url
        self._fields = {"grant_type": "refresh_token", "client_id": client_id, "client_secret": client_secret}
        self._first = first
        self._name = f"{SYSTEM}:{tracker}:{hashlib.sha256(first.encode()).hexdigest()[:16]}"
        self._access: Access | None = None
        self._unsaved: StoredToken | None = None
        self._lock = threading.Lock()

    def header(self, refused: str | None = None) -> str:
        """See `Authorizer`; Unavailable while another process renews it."""
        with self._lock:
            if self._unsaved is not None:  # the database was away: others still know but the token before
                self._save(self._unsaved)
            if not self._is_good(self._access, refused):
                self._access = _newer(self._access, _unpack(self._store.read(self._name)))
            if not self._is_good(self._access, refused):
                self._renew(refused)
            assert self._access is not None
            return self._access.header

    def _is_good(self, access: Access | None, refused: str | None) -> bool:
        now = self._clock.now().timestamp()
        return access is not None and access.header != refused and access.ends_at - MARGIN_S > now

    def _renew(self, refused: str | None) -> None:
        held = self._store.hold(self._name, seconds=HOLD_S)
        if held is None:
            raise Unavailable(SYSTEM, "token_being_renewed", retry_after_s=RETRY_S)
        known = _newer(self._access, _unpack(held))
        if known is not None and self._is_good(known, refused):  # another process was faster
            self._store.replace(self._name, held, held.value, held.expires_at)
            self._access = known
            return
        refresh = known.refresh if known is not None else self._first
        now = self._clock.now().timestamp()
        try:
            fresh = fetch(self._session, self._token_url, {**self._fields, "refresh_token": refresh}, now)
        except IntegrationError:
            if held.value:  # whoever tries next need not wait for us
                self._store.replace(self._name, held, held.value, held.expires_at)
            raise
        # Kept first of all: if it cannot be stored now, this process still has the only token that is good.
        self._access = Access(fresh.token, fresh.ends_at, fresh.refresh or refresh)
        self._save(held)

    def _save(self, held: StoredToken) -> None:
        """Store what was fetched under a hold; where that fails it is tried before the next call."""
        assert self._access is not None
        self._unsaved = held
        packed = json.dumps({"token": self._access.token, "refresh": self._access.refresh})
        self._store.replace(self._name, held, packed, self._access.ends_at)
        self._unsaved = None


def authorizer(name: str, config: Config, session: requests.Session, clock: Clock, tokens: TokenStore) -> Authorizer:
    """What the configuration asks for; nothing is called."""
    auth = config.auth
    token = auth.token.get_secret_value() if auth.token else ""
    if auth.method is Method.BASIC:
        return Fixed("Basic " + base64.b64encode(f"{auth.user}:{token}".encode()).decode())
    if auth.method is Method.BEARER:
        return Fixed(f"Bearer {token}")
    assert auth.client_id is not None
    assert auth.client_secret is not None
    secret = auth.client_secret.get_secret_value()
    if auth.method is Method.CLIENT_CREDENTIALS:
        return ClientCredentials(
            session,
            clock,
            token_url=config.token_url,
            client_id=auth.client_id,
            client_secret=secret,
            is_form=not config.is_cloud,
        )
    assert auth.refresh_token is not None
    return RefreshToken(
        session,
        clock,
        tokens,
        tracker=name,
        token_url=config.token_url,
        client_id=auth.client_id,
        client_secret=secret,
        first=auth.refresh_token.get_secret_value(),
    )


def fetch(
    session: requests.Session, url: str, fields: Mapping[str, str], now: float, *, is_form: bool = False
) -> Access:
    """An access token; AuthFailed where the id, the secret or the refresh token is not accepted."""
    if is_form:
        encoded = urlencode(fields)
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        answer = call(session, SYSTEM, "POST", url, headers=headers, content=encoded)
    else:
        answer = call(session, SYSTEM, "POST", url, headers={"Accept": "application/json"}, json=dict(fields))
    if answer.status in (400, 401, 403):
        raise AuthFailed(SYSTEM, "token_refused", _word(answer))
    raise_for_status(SYSTEM, answer, changes=True)
    body = _decode(answer)
    token, life_s = body.get("access_token"), body.get("expires_in", DEFAULT_LIFE_S)
    if not isinstance(token, str) or not token:
        raise AuthFailed(SYSTEM, "token_refused", "the answer holds no access_token")
    refresh = body.get("refresh_token")
    refresh = refresh if isinstance(refresh, str) else ""
    remember_secrets((token, refresh))
    return Access(token, now + (life_s if isinstance(life_s, int | float) else DEFAULT_LIFE_S), refresh)


def _word(answer: Answer) -> str:
    """The error's name, such as invalid_grant; never the body, which may repeat what was sent."""
    word = _decode(answer).get("error")
    return clean_line(word, 60) if isinstance(word, str) else f"http_{answer.status}"


def _decode(answer: Answer) -> dict[str, Any]:
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _newer(one: Access | None, other: Access | None) -> Access | None:
    if one is None or other is None:
        return one or other
    return one if one.ends_at > other.ends_at else other


def _unpack(stored: StoredToken | None) -> Access | None:
    """What was stored; None where nothing was, or nothing that can be read."""
    if stored is None or not stored.value:
        return None
    try:
        kept = json.loads(stored.value)
        return Access(str(kept["token"]), stored.expires_at, str(kept["refresh"]))
    except (ValueError, LookupError, TypeError):
        return None
