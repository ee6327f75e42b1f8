"""The sources' door under pressure: who sends too much, or comes when the database does not keep up, is told when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, text

from bot.services.ingest import Ingest
from bot.services.router import Router
from bot.services.signal import Signal
from bot.signatures import sign
from bot.storage import groups
from handlers import gate
from handlers.gate import SPARE_THREADS, Gate
from handlers.webhooks import RateLimit, events_of, webhooks
from integrations import generic
from tests.fakes import EPOCH, FakeClock
from tests.handlers.serving import Answer, line_to, serve
from tests.stores import SqlStore
from tests.waiting import wait_until

SECRET = "sixteen-letters-or-more"
RATES = {"nightly": 0.2, "other": 0.2, "free": None}
BURST = 2
ROOM = 4
PATIENCE_S = 30.0


class Door:
    """The doors of three sources, which share a secret."""

    def __init__(self, port: int, clock: FakeClock, gate: Gate) -> None:
        self._port = port
        self.clock = clock
        self.gate = gate

    def ask(self, path: str) -> Answer:
        """Ask for something that no database is needed for."""
        with line_to(self._port) as line:
            return line.ask("GET", path)

    def tell(self, number: int, source: str = "nightly", *, secret: str = SECRET) -> Answer:
        """Say that a build started."""
        body = json.dumps({"event": "build.started", "project": "user-service", "number": number}).encode()
        at = int(self.clock.now().timestamp())
        signature = sign(secret, f"msg-{number}", at, body)
        headers = {"webhook-id": f"msg-{number}", "webhook-timestamp": str(at), "webhook-signature": signature}
        with line_to(self._port) as line:
            return line.ask("POST", f"/webhooks/{source}", headers, body)


@pytest.fixture
def door(store: SqlStore) -> Iterator[Door]:
    """Doors over a store, as the composition root opens them."""
    clock = FakeClock()
    ingest = Ingest(store, clock, Router((), {}), Signal(), frozenset())
    config = generic.Config.model_validate({"secrets": [SECRET]})
    sources = {name: generic.GenericWebhook(name, config) for name in RATES}
    senders = {name: events_of(source, ingest) for name, source in sources.items()}
    before = Gate(ROOM, store.longest_wait_s)
    blueprint = webhooks(senders, clock, rates=RATES, gate=before)
    with serve([blueprint], threads=ROOM + SPARE_THREADS) as port:
        yield Door(port, clock, before)


def test_a_source_above_its_rate_comes_again(door: Door) -> None:
    """What is too much is answered 503 with the seconds to wait, and is taken after them; other sources go on."""
    for number in range(BURST):
        assert door.tell(number).status == 202
    refused = door.tell(9)
    assert (refused.status, refused.said["reason"]) == (503, "rate_limited: try again")
    wait = int(refused.headers["Retry-After"])
    assert 0 < wait <= 5
    assert door.tell(9, "other").status == 202
    door.clock.advance(wait)
    assert door.tell(9).status == 202
    assert door.tell(10).status == 503


def test_a_stranger_uses_up_nobodys_rate(door: Door) -> None:
    """The signature is looked at first."""
    for number in range(5 * BURST):
        assert door.tell(number, secret="not-the-source's-secret").status == 401
    assert [door.tell(number).status for number in range(BURST)] == [202] * BURST


def test_a_source_without_a_rate_has_none(door: Door) -> None:
    """`off` takes what comes."""
    assert {door.tell(number, "free").status for number in range(20)} == {202}


def test_a_rate_is_kept_over_any_time() -> None:
    """Ten seconds' worth at once, then one after the other as the rate says; a quiet hour adds no more than that."""
    limit, now = RateLimit(5.0), EPOCH.timestamp()
    assert sum(limit.wait_s(now) == 0 for _ in range(200)) == pytest.approx(50, abs=1)
    taken = sum(limit.wait_s(now + step / 100) == 0 for step in range(1000))
    assert taken == pytest.approx(50, abs=1)
    assert sum(limit.wait_s(now + 3600) == 0 for _ in range(200)) == pytest.approx(50, abs=1)


def test_a_clock_that_is_set_back_shuts_nobody_out() -> None:
    """The wait is never longer than an empty bucket takes to fill."""
    limit, now = RateLimit(5.0), EPOCH.timestamp()
    assert limit.wait_s(now) == 0
    assert limit.wait_s(now - 86400) <= 10.2
    assert limit.wait_s(now - 86400 + 10.3) == 0


@contextmanager
def stuck(database: Engine) -> Iterator[None]:
    """Somebody else holds the database, so that nothing is written."""
    with database.connect() as connection:
        if database.dialect.name == "postgresql":
            connection.execute(text("LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
        connection.rollback()


def test_nobody_waits_for_a_database_that_does_not_keep_up(
    door: Door, store: SqlStore, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as there is room for wait for it; all others are sent away at once, and pages are answered."""
    monkeypatch.setattr(gate, "STALL_S", 0.05)
    monkeypatch.setattr(gate, "LONGEST_WAIT_S", PATIENCE_S)  # the room is taken however long that takes
    monkeypatch.setattr(groups, "LONGEST_WAIT_S", PATIENCE_S)
    monkeypatch.setattr(groups, "WRITE_DEADLINE_S", PATIENCE_S)
    with ThreadPoolExecutor(30) as pool:
        with stuck(database):
            senders = [pool.submit(door.tell, number, "free") for number in range(30)]
            wait_until(lambda: sum(one.done() for one in senders) == 30 - ROOM)
            answers = [one.result() for one in senders if one.done()]
            assert [door.ask(page).status for page in ("/healthz", "/readyz")] == [200, 200]
        assert {(answer.status, answer.said["reason"]) for answer in answers} == {(503, "overloaded: try again")}
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
        assert sorted(one.result(30).status for one in senders) == [202] * ROOM + [503] * (30 - ROOM)
    wait_until(lambda: store.longest_wait_s() == 0)
    assert door.tell(99, "free").status == 202


def test_who_waits_for_long_sends_all_others_away(
    door: Door, store: SqlStore, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody joins one who has waited for two seconds, even where there is room; the process says so as well."""
    monkeypatch.setattr(gate, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(groups, "LONGEST_WAIT_S", PATIENCE_S)
    with ThreadPoolExecutor(1) as pool:
        with stuck(database):
            first = pool.submit(door.tell, 1, "free")
            wait_until(door.gate.trouble)
            answers = [door.tell(number, "free") for number in range(2, 12)]
            assert not first.done()
        assert {(answer.status, answer.said["reason"]) for answer in answers} == {(503, "overloaded: try again")}
        assert first.result(30).status == 202
    wait_until(lambda: door.gate.trouble() is None)


def test_an_arrival_does_not_wait_for_ever(
    door: Door, store: SqlStore, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited too long is told to come again, also where the write is under way; coming again makes one event."""
    monkeypatch.setattr(groups, "LONGEST_WAIT_S", 0.1)
    monkeypatch.setattr(groups, "WRITE_DEADLINE_S", 0.2)
    with stuck(database):
        refused = door.tell(1, "free")
    assert (refused.status, refused.said["reason"]) == (503, "not_stored: try again")
    wait_until(lambda: store.longest_wait_s() == 0)
    monkeypatch.undo()
    assert door.tell(1, "free").status in (200, 202)
    with database.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM events")) == 1


def test_nobody_waits_behind_those_who_never_leave(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all room is taken by who only reads, one waits in vain; others are told at once until one leaves."""
    assert all(door.gate.enter() for _ in range(ROOM))
    monkeypatch.setattr(gate, "STALL_S", 0.05)
    assert door.tell(1, "free").status == 503
    monkeypatch.setattr(gate, "STALL_S", 10 * PATIENCE_S)
    assert {door.tell(number, "free").status for number in range(2, 12)} == {503}
    door.gate.leave()
    assert door.tell(12, "free").status == 202


def test_a_request_that_fails_makes_room_again(door: Door) -> None:
    """Refused requests, more of them than there is room, shut nobody out."""
    assert {door.tell(number, secret="not-the-source's-secret").status for number in range(3 * ROOM)} == {401}
    assert door.tell(1).status == 202
