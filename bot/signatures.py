"""Standard Webhooks, as the doors of our own ask for it.

`webhook-signature: v1,<base64 HMAC-SHA256 of id.timestamp.body>`, within five minutes of `webhook-timestamp`, see
https://github.com/standard-webhooks/standard-webhooks (spec/standard-webhooks.md).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from bot.errors import SignatureInvalid

WINDOW_S = 300
MAX_SIGNATURES = 10
MAX_KEY = 190
LEAST_BYTES = 16
_PREFIX = "whsec_"
_TIMESTAMP = re.compile(r"[0-9]{1,11}")


def _accept_one(value: object) -> object:
    return (value,) if isinstance(value, str | SecretStr) else value


def _are_strong(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for secret in secrets:
        if len(key_of(secret.get_secret_value())) < LEAST_BYTES:
            raise ValueError("a secret must be at least 16 characters (or bytes, after whsec_) long")
    return secrets


# Those that may sign now: while one is being replaced, the new and the old. Each is `whsec_` and base64, as Standard
# Webhooks writes them, or any text of at least 16 characters.
Secrets = Annotated[
    tuple[SecretStr, ...], BeforeValidator(_accept_one), AfterValidator(_are_strong), Field(min_length=1, max_length=5)
]


@dataclass(frozen=True, slots=True)
class SignedDelivery:
    """One authentic delivery: `key` knows it again (at most 200 characters), `sent_at` is in seconds since 1970."""

    key: str
    sent_at: int


def key_of(secret: str) -> bytes:
    """The signing key that a secret stands for; ValueError when `whsec_` is not followed by base64."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("after whsec_ there must be base64") from None


def sign(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature` for a delivery."""
    return _signature(key_of(secret), delivery_id.encode(), str(timestamp).encode(), body).decode()


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: datetime) -> SignedDelivery:
    """The delivery, once a signature has proved its id and time; headers have lower-case names. SignatureInvalid."""
    values = [headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
    for name, value in zip(("id", "timestamp", "signature"), values, strict=True):
        if not value:
            raise SignatureInvalid(f"the header webhook-{name} is missing")
    delivery_id, timestamp, signatures = values
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureInvalid("webhook-timestamp must be whole seconds since 1970")
    if abs(now.timestamp() - int(timestamp)) > WINDOW_S:
        raise SignatureInvalid("webhook-timestamp is more than five minutes from now")
    given = [_raw(signature) for signature in signatures.split(" ")[:MAX_SIGNATURES]]
    # Every pair is compared, so that the time taken tells nothing about which one matches.
    matches = [
        hmac.compare_digest(_signature(key, _raw(delivery_id), timestamp.encode(), body), signature)
        for key in keys
        for signature in given
    ]
    if not any(matches):
        raise SignatureInvalid("webhook-signature does not match the id, timestamp and body")
    return SignedDelivery(_delivery_key(delivery_id), int(timestamp))


def _signature(key: bytes, delivery_id: bytes, timestamp: bytes, body: bytes) -> bytes:
    digest = hmac.digest(key, b"%s.%s.%s" % (delivery_id, timestamp, body), "sha256")
    return b"v1," + base64.b64encode(digest)


def _raw(header: str) -> bytes:
    """A header's bytes as they came: WSGI shows them as Latin-1."""
    return header.encode("latin-1", "backslashreplace")


def _delivery_key(delivery_id: str) -> str:
    if len(delivery_id) <= MAX_KEY and delivery_id.isascii() and delivery_id.isprintable():
        return delivery_id
    return "sha256." + hashlib.sha256(_raw(delivery_id)).hexdigest()
