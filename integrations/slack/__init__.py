"""Slack: cards with a colour bar and buttons, threads, private answers and windows.

Documentation: https://docs.slack.dev · set-up: docs/platforms/slack.md.
"""

from integrations.slack.manifest import manifest
from integrations.slack.platform import SPEC
from integrations.slack.web import web_client

__all__ = ["SPEC", "manifest", "web_client"]
