"""Requests as senders make them, signed and ready for a socket."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

WEBHOOK_SECRET = "benchmark-webhook-secret"
STAGES = [{"name": name, "status": "success", "duration_s": 12.5} for name in ("checkout", "compile", "unit tests")]


def build_event(project: str, number: int | str, event: str = "build.started", **more: object) -> dict[str, Any]:
    """The body of a build event of usual size."""
    return {
        "event": event,
        "project": project,
        "number": number,
        "branch": "main",
        "commit": "4f2c7bd19e6a48d0b0c1f1b5a9d6c3e27788aa01",
        "commit_title": "Keep the connection open between two requests",
        "author": "Alice Example",
        "triggered_by": "push",
        "url": f"https://ci.example.com/builds/{project}/{number}",
        **more,
    }


def webhook(port: int, delivery: str, body: Mapping[str, Any], path: str = "/webhooks/generic") -> bytes:
    """A delivery signed as Standard Webhooks says."""
    content = json.dumps(body).encode()
    timestamp = str(int(time.time()))
    signed = b"%s.%s.%s" % (delivery.encode(), timestamp.encode(), content)
    signature = base64.b64encode(hmac.digest(WEBHOOK_SECRET.encode(), signed, "sha256")).decode()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": delivery,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }
    return request(port, "POST", path, headers, content)


def slack_press(port: int, secret: str, press: Mapping[str, Any], path: str = "/slack/events") -> bytes:
    """A click as Slack posts it."""
    content = urlencode({"payload": json.dumps(press)}).encode()
    timestamp = str(int(time.time()))
    digest = hmac.new(secret.encode(), b"v0:%s:%s" % (timestamp.encode(), content), hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": f"v0={digest}",
    }
    return request(port, "POST", path, headers, content)


def request(port: int, method: str, path: str, headers: Mapping[str, str], content: bytes = b"") -> bytes:
    """The bytes of a request that keeps its connection."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content
