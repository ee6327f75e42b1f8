"""The Stream connection against the playground's gateway, through the real SDK."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bot.domain.commands import Actor, ReplyTo
from bot.errors import StorageUnavailable
from handlers import dingtalk_session
from handlers.dingtalk import Door
from handlers.dingtalk_session import Session
from handlers.dingtalk_stream import DingTalkStream
from playground import world
from playground.options import Json, Options
from playground.server import Playground
from tests.handlers.connections import Jam, Switch
from tests.waiting import wait_until

GROUP = world.DINGTALK_GROUPS[0].name
GATEWAY = "POST /v1.0/gateway/connections/open"
ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0


class FakeInbox:
    """Remembers keys and words; refuses as often as it is told to."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.typed: list[str] = []
        self.refusals = 0
        self.changed = threading.Condition()

    def accept(self, *, typed: str, dedup_key: str, actor: Actor, reply_to: ReplyTo, via: str) -> bool:
        """Store, or say that it cannot be."""
        with self.changed:
            self.keys.append(dedup_key)
            if self.refusals:
                self.refusals -= 1
                raise StorageUnavailable("locked")
            self.typed.append(typed)
            self.changed.notify_all()
            return self.keys.count(dedup_key) == 1

    def wait_for(self, count: int) -> bool:
        """Whether so many commands were stored within half a minute."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.typed) >= count, 30.0)


Start = Callable[..., tuple[DingTalkStream, Switch]]


@pytest.fixture
def playground() -> Iterator[Playground]:
    """A playground of its own: connections outlive a reset."""
    with Playground(Options(port=0)) as started:
        yield started


@pytest.fixture
def inbox() -> FakeInbox:
    """An empty inbox."""
    return FakeInbox()


@pytest.fixture
def start(inbox: FakeInbox) -> Iterator[Start]:
    """Starts streams and stops them afterwards."""
    started: list[DingTalkStream] = []

    def start_at(url: str, secret: str = world.DINGTALK_CLIENT_SECRET) -> tuple[DingTalkStream, Switch]:
        switch = Switch()
        door = Door(world.DINGTALK_CLIENT_ID, inbox)
        stream = DingTalkStream(
            world.DINGTALK_CLIENT_ID,
            secret,
            f"{url}/dingtalk/api",
            door,
            first_pause_s=0.05,
            most_pause_s=0.2,
            on_change=switch,
        )
        started.append(stream)
        stream.start()
        return stream, switch

    yield start_at
    ended = [stream.stop(PATIENCE_S) for stream in started]  # every one, also after a slow one
    assert all(ended)


def _say(playground: Playground, words: str = "@Shipmate 状态") -> Json:
    return playground.client.act(platform="dingtalk", channel=GROUP, as_="张敏", say=words)


def _acks(playground: Playground, words: str) -> set[int]:
    """With which codes what was said has been acknowledged so far, each time that it came."""
    sent = playground.client.deliveries(platform="dingtalk")
    return {one["ack"]["code"] for one in sent if one["ack"] and words in one["payload"]["text"]["content"]}


def test_words_are_heard_and_acknowledged(start: Start, playground: Playground, inbox: FakeInbox) -> None:
    """What is said to the bot is stored before DingTalk is told so, and the answer leaves cards alone."""
    stream, switch = start(playground.url)
    assert switch.wait_for(True)
    assert stream.is_connected
    ack = _say(playground)["ack"]
    assert (ack["code"], ack["payload"]) == (200, {})
    assert inbox.typed == ["状态"]
    assert playground.client.state()["violations"] == []


def test_what_was_not_stored_comes_again(start: Start, playground: Playground, inbox: FakeInbox) -> None:
    """A locked database costs time, not the command."""
    _, switch = start(playground.url)
    assert switch.wait_for(True)
    inbox.refusals = 1
    assert _say(playground)["ack"] is None
    assert inbox.wait_for(1)
    assert inbox.keys[0] == inbox.keys[1]


def test_no_more_wait_for_the_database_than_there_is_room_for(
    start: Start, playground: Playground, inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it stalls whatever comes then is refused, and sent again; what waits is stored afterwards."""
    monkeypatch.setattr(dingtalk_session, "MOST_WAITING", 1)
    jam = Jam(inbox.accept)
    monkeypatch.setattr(inbox, "accept", jam)
    _, switch = start(playground.url)
    assert switch.wait_for(True)
    playground.client.options(dingtalk_ack_timeout_s=0.2)  # the first one is not acknowledged in time
    _say(playground)
    wait_until(lambda: jam.knocks, "the first one at the database")
    _say(playground, "@Shipmate 构建")
    wait_until(lambda: _acks(playground, "构建"), "the second one to be refused")
    assert (jam.knocks, inbox.keys) == (1, [])
    assert _acks(playground, "状态") | _acks(playground, "构建") == {500}
    jam.end()
    assert inbox.wait_for(1)
    playground.client.options(dingtalk_ack_timeout_s=5.0)
    _say(playground, "@Shipmate 帮助")
    wait_until(lambda: 200 in _acks(playground, "帮助"), "room for another one")
    assert inbox.typed[0] == "状态"


def test_a_redelivery_is_acknowledged_and_known(start: Start, playground: Playground, inbox: FakeInbox) -> None:
    """The same message a second time has the same key."""
    _, switch = start(playground.url)
    assert switch.wait_for(True)
    _say(playground)
    assert playground.client.act(platform="dingtalk", redeliver=True)["ack"]["code"] == 200
    assert len(inbox.keys) == 2
    assert len(set(inbox.keys)) == 1


@pytest.mark.parametrize("how", ["persistent connection is timeout", "drop"])
def test_a_lost_connection_comes_back(start: Start, playground: Playground, inbox: FakeInbox, how: str) -> None:
    """DingTalk moves connections every few hours, and networks break."""
    _, switch = start(playground.url)
    assert switch.wait_for(True)
    playground.client.act(platform="dingtalk", disconnect=how)
    assert switch.wait_for(True, False, True)
    assert _say(playground)["ack"]["code"] == 200
    assert inbox.typed == ["状态"]


def test_a_stream_comes_back_when_it_cannot_be_closed(
    start: Start, playground: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing what broke may fail too: it is no end of the listening."""
    close = Session.close

    async def close_badly(self: Session) -> None:
        await close(self)
        raise ValueError("closed twice")

    monkeypatch.setattr(Session, "close", close_badly)
    switch = start(playground.url)[1]
    assert switch.wait_for(True)
    playground.client.act(platform="dingtalk", disconnect="drop")
    assert switch.wait_for(True, False, True)


def test_a_gateway_that_is_down_is_waited_for(start: Start, playground: Playground) -> None:
    """Refusals, errors and resets are all tried again, with growing pauses."""
    playground.client.faults(
        {"platform": "dingtalk", "method": GATEWAY, "kind": "down", "times": 1},
        {"platform": "dingtalk", "method": GATEWAY, "kind": "status", "status": 500, "times": 1},
        {"platform": "dingtalk", "method": GATEWAY, "kind": "status", "status": 200, "body": [], "times": 1},
    )
    stream, switch = start(playground.url)
    assert switch.wait_for(True)
    assert stream.is_connected
    assert len(playground.client.calls(method=GATEWAY)) == 4


def test_a_ticket_that_ended_is_replaced(start: Start, playground: Playground) -> None:
    """A refused ticket leads to a new one, not to the same again."""
    stale = {"endpoint": playground.url.replace("http", "ws") + "/dingtalk/stream", "ticket": "ended"}
    playground.client.faults(
        {"platform": "dingtalk", "method": GATEWAY, "kind": "status", "status": 200, "body": stale, "times": 1}
    )
    _, switch = start(playground.url)
    assert switch.wait_for(True)


def test_wrong_credentials_do_not_connect(start: Start, playground: Playground) -> None:
    """A wrong secret is refused and tried again slowly, in case it is put right on the other side."""
    stream, _ = start(playground.url, "wrong")
    playground.client.wait_for(lambda _: len(playground.client.calls(method=GATEWAY)) >= 2)
    assert not stream.is_connected
    assert {call["status"] for call in playground.client.calls(method=GATEWAY)} == {401}


def test_a_connected_stream_stops_at_once(start: Start, playground: Playground) -> None:
    """Nothing is left: no thread, no connection; a second stop is harmless."""
    stream, switch = start(playground.url)
    assert switch.wait_for(True)
    assert stream.stop()
    assert not stream.is_connected
    assert not [one for one in threading.enumerate() if one.name == "dingtalk-stream"]
    assert stream.stop()


def test_a_stream_stops_while_the_gateway_hangs(start: Start) -> None:
    """A gateway that takes the connection and says nothing does not hold the process up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stream, _ = start(f"http://127.0.0.1:{silent.getsockname()[1]}")
        connection, _ = silent.accept()
        with connection:
            assert stream.stop()


def test_a_stream_that_was_stopped_at_once_stays_stopped(start: Start, playground: Playground) -> None:
    """Stop may come before the thread has loaded the SDK."""
    stream, _ = start(playground.url)
    assert stream.stop()
    assert not stream.is_connected


def test_a_stream_starts_once(start: Start, playground: Playground) -> None:
    """Two connections of one process would hear everything by halves."""
    stream, _ = start(playground.url)
    with pytest.raises(RuntimeError, match="before"):
        stream.start()


def test_the_sdk_is_loaded_only_where_it_is_used() -> None:
    """A process without DingTalk does not pay for it."""
    code = "import handlers.dingtalk_stream, sys; print(int('dingtalk_stream' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
