"""The minimal doors that ours are measured against: `gunicorn benchmarks.yardstick:webhook_door()`, and Bolt's own.

The webhook door checks an HMAC and commits one row durably, and does nothing else.
"""

from __future__ import annotations

import base64
import hmac
import os
import sqlite3
import threading
from collections.abc import Callable

import psycopg
from flask import Flask, Response, jsonify, request

from benchmarks.signed import WEBHOOK_SECRET

Keep = Callable[[str, bytes], object]


def webhook_door() -> Flask:
    """Flask, a signature check, an INSERT with its COMMIT, on the database that `YARDSTICK_DATABASE` names."""
    app = Flask("yardstick")
    database = os.environ["YARDSTICK_DATABASE"]
    keep = _keeper_on_postgres(database) if database.startswith("postgresql:") else _keeper_on_sqlite(database)

    @app.post("/webhooks/generic")
    def receive() -> Response:
        body = request.get_data()
        delivery, timestamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        signed = b"%s.%s.%s" % (delivery.encode(), timestamp.encode(), body)
        expected = "v1," + base64.b64encode(hmac.digest(WEBHOOK_SECRET.encode(), signed, "sha256")).decode()
        if not hmac.compare_digest(expected, request.headers["webhook-signature"]):
            return Response(status=401)
        keep(delivery, body)
        answer = jsonify(status="ok", reason="accepted")
        answer.status_code = 202
        return answer

    @app.get("/readyz")
    def readyz() -> str:
        return "ready\n"

    return app


def _keeper_on_sqlite(path: str) -> Keep:
    """One connection under a lock, which is faster than one a thread."""
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, delivery TEXT UNIQUE, body BLOB)")
    lock = threading.Lock()

    def keep(delivery: str, body: bytes) -> None:
        with lock:
            connection.execute("INSERT INTO events (delivery, body) VALUES (?, ?)", (delivery, body))

    return keep


def _keeper_on_postgres(url: str) -> Keep:
    """A connection a thread, so that the server can flush the commits of several at once."""
    table = "CREATE TABLE IF NOT EXISTS events (id bigserial PRIMARY KEY, delivery text UNIQUE, body bytea)"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(table)
    mine = threading.local()

    def keep(delivery: str, body: bytes) -> None:
        if not hasattr(mine, "connection"):
            mine.connection = psycopg.connect(url, autocommit=True)
        mine.connection.execute("INSERT INTO events (delivery, body) VALUES (%s, %s)", (delivery, body), prepare=True)

    return keep
