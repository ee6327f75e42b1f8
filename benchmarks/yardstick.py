"""The minimal doors that ours are measured against: `gunicorn benchmarks.yardstick:webhook_door()`, and Bolt's own.

The webhook door checks an HMAC and commits one row durably, and does nothing else.
"""

from __future__ import annotations

import base64
import hmac
import os
import sqlite3
import threading

from flask import Flask, Response, jsonify, request

from benchmarks.signed import WEBHOOK_SECRET


def webhook_door() -> Flask:
    """Flask, a signature check, an INSERT with its COMMIT; one connection under a lock is faster than one a thread."""
    app = Flask("yardstick")
    connection = sqlite3.connect(os.environ["YARDSTICK_DATABASE"], check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, delivery TEXT UNIQUE, body BLOB)")
    lock = threading.Lock()

    @app.post("/webhooks/generic")
    def receive() -> Response:
        body = request.get_data()
        delivery, timestamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        signed = b"%s.%s.%s" % (delivery.encode(), timestamp.encode(), body)
        expected = "v1," + base64.b64encode(hmac.digest(WEBHOOK_SECRET.encode(), signed, "sha256")).decode()
        if not hmac.compare_digest(expected, request.headers["webhook-signature"]):
            return Response(status=401)
        with lock:
            connection.execute("INSERT INTO events (delivery, body) VALUES (?, ?)", (delivery, body))
        answer = jsonify(status="ok", reason="accepted")
        answer.status_code = 202
        return answer

    @app.get("/readyz")
    def readyz() -> str:
        return "ready\n"

    return app
