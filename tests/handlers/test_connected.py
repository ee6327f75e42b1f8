"""Whether a stream stands, as metrics tell it before it ever stood."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from prometheus_client import REGISTRY
from slack_sdk import WebClient

from bot.telemetry import CONNECTED
from handlers.dingtalk_stream import DingTalkStream
from handlers.slack_socket import SlackSocket

NOBODY = "http://127.0.0.1:9/"
STREAMS = {
    "slack": lambda: SlackSocket(Mock(), "xapp-1", WebClient("xoxb-1", base_url=NOBODY, retry_handlers=[], timeout=1)),
    "dingtalk": lambda: DingTalkStream("id", "secret", NOBODY, Mock()),
}


@pytest.mark.parametrize("platform", STREAMS)
def test_a_stream_that_never_stood_is_told_of(platform: str) -> None:
    """A wrong token or a firewall: the alarm for what is not connected finds a 0, not nothing."""
    CONNECTED.clear()
    stream = STREAMS[platform]()
    stream.start()
    assert REGISTRY.get_sample_value("shipmate_connected", {"platform": platform}) == 0.0
    assert stream.stop(10.0)
