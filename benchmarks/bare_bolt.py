"""A Bolt app that acknowledges every press and does nothing else, served as ours is."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

from flask import Flask, Response, request
from slack_bolt import App
from slack_bolt.adapter.flask import SlackRequestHandler
from slack_bolt.authorization import AuthorizeResult
from waitress import serve


def flask_app() -> Flask:
    """Bolt with its own signature check, behind Flask's adapter; nothing is called on the network."""
    bolt = App(
        signing_secret=os.environ["SLACK_SIGNING_SECRET"],
        token_verification_enabled=False,
        authorize=lambda: AuthorizeResult(enterprise_id=None, team_id=None, bot_token="xoxb-nothing"),
    )

    @bolt.action(re.compile(""))
    def press(ack: Callable[[], object]) -> None:
        ack()

    app = Flask("bare-bolt")
    handler = SlackRequestHandler(bolt)

    @app.post("/slack/events")
    def events() -> Response:
        return handler.handle(request)

    @app.get("/readyz")
    def readyz() -> str:
        return "ready\n"

    return app


if __name__ == "__main__":
    serve(flask_app(), listen=f"127.0.0.1:{int(sys.argv[1])}", threads=12)
