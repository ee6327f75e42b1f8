"""The sources' door: what is good is stored before it is answered, what is bad is refused with a reason."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select

from bot.errors import StorageUnavailable
from bot.ports import Received, Store
from bot.services.ingest import Ingest
from bot.services.router import Router
from bot.services.signal import Signal
from bot.signatures import sign
from bot.storage.schema import upgrade
from bot.storage.store import SqliteStore, open_sqlite
from bot.storage.tables import metadata
from handlers.webhooks import MAX_BODY_BYTES, events_of, webhooks
from integrations import generic
from integrations.buildbot.config import Config as BuildbotConfig
from integrations.buildbot.webhook import BuildbotWebhook
from tests.fakes import EPOCH, FakeClock
from tests.handlers.serving import Answer, chunked, line_to, serve
from tests.stores import fresh_store, make_store

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
TOKEN = "the-right-token"
NOW = int(EPOCH.timestamp())
BUILDBOT = {
    "buildid": 4,
    "number": 2,
    "masterid": 1,
    "started_at": NOW - 60,
    "complete_at": NOW - 50,
    "complete": True,
    "results": 2,
    "state_string": "failed unit tests (failure)",
    "builder": {"name": "user-service"},
    "url": "http://ci/#/builders/1/builds/2",
    "properties": {"branch": ["main", "Git"], "got_revision": ["9fceb02d", "Git"], "owner": ["alice", "Git"]},
    "steps": [{"name": "unit tests", "number": 1, "results": 2, "started_at": NOW - 60, "complete_at": NOW - 50}],
    "buildset": {"reason": "", "sourcestamps": [{"branch": "main", "revision": "9fceb02d", "project": ""}]},
}
GENERIC = {
    "event": "build.finished",
    "project": "user-service",
    "number": 2,
    "attempt": 1,
    "status": "failed",
    "branch": "main",
    "commit": "9fceb02d",
    "commit_title": "Fix it",
    "author": "alice",
    "triggered_by": "alice",
    "started_at": "2026-11-21T03:59:00Z",
    "finished_at": "2026-11-21T03:59:30Z",
    "occurred_at": "2026-11-21T03:59:30Z",
    "url": "http://ci/2",
    "summary": "failed",
    "stages": [{"name": "tests", "status": "failed", "duration_s": 5.0}],
    "failed_tests": [{"name": "test_sum", "detail": "1 != 2"}],
    "log_excerpt": "1 != 2",
}
HOSTILE = (
    "",
    "\ud800",
    "\x00",
    "x" * 20_000,
    "\u202e重",
    -1,
    0,
    10**40,
    1e300,
    True,
    None,
    [],
    {},
    [None],
    [[]] * 2000,
)


@dataclass
class Doors:
    """The doors of two sources, over a database of their own."""

    port: int
    database: Engine
    clock: FakeClock

    def post(self, source: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One request on a connection of its own."""
        with line_to(self.port) as line:
            return line.ask("POST", f"/webhooks/{source}", headers, body)

    def knock(self, source: str, said: object, *, name: str = "msg_1") -> Answer:
        """A properly signed request; `said` is the body, or what is to be JSON."""
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        return self.post(source, body, self.signed(source, body, name=name))

    def signed(self, source: str, body: bytes, *, name: str = "msg_1", at: int | str = NOW) -> dict[str, str]:
        """The headers of somebody who has the secret."""
        if source == "buildbot":
            return {"X-Bot-Token": TOKEN}
        signature = sign(SECRET, name, at, body)  # type: ignore[arg-type] # nonsense too
        return {"webhook-id": name, "webhook-timestamp": str(at), "webhook-signature": signature}

    def counted(self) -> dict[str, int]:
        """How many rows each table has."""
        with self.database.connect() as connection:
            return {
                name: connection.scalar(select(func.count()).select_from(table)) or 0
                for name, table in metadata.tables.items()
            }


@contextmanager
def open_doors(store: Store, database: Engine) -> Iterator[Doors]:
    """Doors over a store, served until the end of the context."""
    clock = FakeClock()
    ingest = Ingest(store, clock, Router((), {}), Signal(), frozenset())
    buildbot = BuildbotConfig.model_validate({"url": "http://ci", "webhook_token": TOKEN})
    sources = {
        "buildbot": BuildbotWebhook("buildbot", buildbot),
        "generic": generic.GenericWebhook("generic", generic.Config.model_validate({"secrets": [SECRET]})),
        "broken": Broken(),
    }
    senders = {name: events_of(source, ingest) for name, source in sources.items()}
    with serve([webhooks(senders, clock)]) as port:
        yield Doors(port, database, clock)


class Broken:
    """A source with a mistake in it."""

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Received:
        """See `WebhookSource`."""
        raise KeyError("sesame")


@pytest.fixture(scope="module")
def shared() -> Iterator[Doors]:
    """Doors whose database holds one event of each source."""
    with fresh_store() as (store, database), open_doors(store, database) as doors:
        assert doors.knock("buildbot", BUILDBOT).status == 202
        assert doors.knock("generic", GENERIC, name="msg_0").status == 202
        yield doors


@pytest.fixture
def doors(shared: Doors) -> Iterator[Doors]:
    """The shared doors, for what changes nothing: the test fails when the database was changed."""
    before = shared.counted()
    yield shared
    assert shared.counted() == before


@pytest.fixture
def own(sqlite_store: SqliteStore, sqlite_database: Engine) -> Iterator[Doors]:
    """Doors over a database of the test's own."""
    with open_doors(sqlite_store, sqlite_database) as doors:
        yield doors


SOURCES = pytest.mark.parametrize(("source", "said"), [("buildbot", BUILDBOT), ("generic", GENERIC)])


def _reason(answer: Answer) -> str:
    assert answer.headers["Content-Type"] == "application/json"
    return str(answer.said["reason"])


@SOURCES
def test_a_good_event_is_stored_once(source: str, said: dict[str, Any], own: Doors) -> None:
    """202 for the first delivery, 200 for its repetition, one event and one subject in the end."""
    first, second = own.knock(source, said), own.knock(source, said)
    assert [(answer.status, _reason(answer)) for answer in (first, second)] == [(202, "accepted"), (200, "duplicate")]
    assert {name: count for name, count in own.counted().items() if count} == {"events": 1, "subjects": 1}


@SOURCES
def test_one_connection_takes_many_deliveries(source: str, said: dict[str, Any], own: Doors) -> None:
    """A sender that keeps its connection gets an answer to each, refusals among them."""
    with line_to(own.port) as line:
        for number in range(5):
            body = json.dumps({**said, "number": number, "buildid": number} if source == "buildbot" else said).encode()
            headers = own.signed(source, body, name=f"msg_{number}")
            assert line.ask("POST", f"/webhooks/{source}", headers, body).status == 202
            assert line.ask("POST", f"/webhooks/{source}", {}, body).status == 401
    assert own.counted()["events"] == 5


@SOURCES
def test_unsigned_is_401(source: str, said: dict[str, Any], doors: Doors) -> None:
    """Without credentials, or with somebody else's, the answer says which header is wrong and shows no secret."""
    body = json.dumps(said).encode()
    forged = {
        "X-Bot-Token": "the-wrong-token",
        "webhook-id": "1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": "v1,bm8=",
    }
    for headers in ({}, forged, {**forged, "X-Bot-Token": "秘密", "webhook-signature": "v1,秘密"}):
        answer = doors.post(source, body, headers)
        assert answer.status == 401
        assert ("token" if source == "buildbot" else "webhook-") in _reason(answer).lower()
        assert TOKEN.encode() not in answer.body


@pytest.mark.parametrize("at", [NOW - 301, NOW + 301, "soon", "", "-1", "1e9", "٣", "9" * 400, f"{NOW}.5"])
def test_stale_or_senseless_timestamps_are_401(at: int | str, doors: Doors) -> None:
    """Five minutes either way, in whole seconds, else the delivery is refused with the reason."""
    body = json.dumps(GENERIC).encode()
    answer = doors.post("generic", body, doors.signed("generic", body, at=at))
    assert answer.status == 401
    assert "timestamp" in _reason(answer)


def test_a_timestamp_within_the_window_is_taken(own: Doors) -> None:
    """Clocks may differ by five minutes."""
    body = json.dumps(GENERIC).encode()
    for number, at in enumerate((NOW - 300, NOW + 300)):
        headers = own.signed("generic", body, name=f"msg_{number}", at=at)
        assert own.post("generic", body, headers).status == 202


@SOURCES
@pytest.mark.parametrize("body", [b"", b"not JSON", b"{", b"[" * 200_000, b"\xff\xfe\x00", b"[]", b"null", b"5"])
def test_what_is_no_json_object_is_400(source: str, said: object, body: bytes, doors: Doors) -> None:
    """The reason says so, whatever the bytes are."""
    answer = doors.knock(source, body)
    assert answer.status == 400
    assert "JSON" in _reason(answer) or "object" in _reason(answer)


@SOURCES
def test_a_wrong_schema_is_400_and_names_the_field(source: str, said: dict[str, Any], doors: Doors) -> None:
    """The sender learns where the body is wrong."""
    answer = doors.knock(source, {**said, "number": {"no": "number"}})
    assert answer.status == 400
    assert "number" in _reason(answer)


@SOURCES
def test_an_event_of_a_newer_sender_is_202(source: str, said: object, doors: Doors) -> None:
    """What nobody knows yet is no mistake of the sender's, and no build."""
    unknown = {"workerid": 1} if source == "buildbot" else {"event": "deployment.finished"}
    answer = doors.knock(source, unknown)
    assert (answer.status, _reason(answer).partition(":")[0]) == (202, "unknown")


@SOURCES
@pytest.mark.parametrize("over", [1, 2, 1024 * 1024])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_a_mebibyte_is_413(source: str, said: object, over: int, is_chunked: bool, doors: Doors) -> None:
    """Signed or not, told beforehand or not."""
    body = b"x" * (MAX_BODY_BYTES + over)
    headers = doors.signed(source, body) | ({"Transfer-Encoding": "chunked"} if is_chunked else {})
    with line_to(doors.port) as line:
        try:
            answer = line.ask("POST", f"/webhooks/{source}", headers, chunked(body) if is_chunked else body)
        except ConnectionError:  # the answer came before all was sent
            answer = line.read()
    assert answer.status == 413


def test_a_body_of_a_mebibyte_is_read(own: Doors) -> None:
    """The limit itself is allowed, in one piece and in chunks."""
    empty = json.dumps({**GENERIC, "log_excerpt": ""}).encode()
    body = json.dumps({**GENERIC, "log_excerpt": "x" * (MAX_BODY_BYTES - len(empty))}).encode()
    assert len(body) == MAX_BODY_BYTES
    assert own.knock("generic", body).status == 202
    headers = own.signed("generic", body, name="msg_2") | {"Transfer-Encoding": "chunked"}
    pieces = [body[start : start + 8192] for start in range(0, len(body), 8192)]
    assert own.post("generic", chunked(*pieces), headers).status == 202


@pytest.mark.parametrize("name", ["nobody", "", "generic/more", "%2e%2e", "%ff%fe", "x" * 5000, "Generic"])
def test_an_unknown_source_is_404(name: str, doors: Doors) -> None:
    """A path that no source has, whatever stands in it."""
    body = json.dumps(GENERIC).encode()
    assert doors.post(name, body, doors.signed("generic", body)).status == 404


@SOURCES
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_another_method_is_405(source: str, said: object, method: str, doors: Doors) -> None:
    """A browser, or a sender's probe, is told what is allowed."""
    with line_to(doors.port) as line:
        answer = line.ask(method, f"/webhooks/{source}")
    assert (answer.status, "POST" in answer.headers["Allow"]) == (405, True)


def _paths(said: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a body."""
    items = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from _paths(value, (*path, key))


def _with(said: Any, path: tuple[Any, ...], value: object) -> Any:
    changed = json.loads(json.dumps(said))
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


@SOURCES
def test_nothing_in_a_body_breaks_the_door(source: str, said: dict[str, Any], own: Doors) -> None:
    """Each field in turn holds what no field should: the answer is 2xx or 4xx with a reason, never 5xx."""
    answers = {}
    with line_to(own.port) as line:
        for path in _paths(said):
            for number, value in enumerate(HOSTILE):
                body = json.dumps(_with(said, path, value)).encode()
                headers = own.signed(source, body, name=f"{path}-{number}")
                answer = line.ask("POST", f"/webhooks/{source}", headers, body)
                answers[path, repr(value)[:20]] = (answer.status, answer.body[:100])
    assert {key: answer for key, answer in answers.items() if answer[0] not in (200, 202, 400)} == {}


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Engine]:
    """A database whose writer waits for a lock a moment only."""
    engine = open_sqlite(f"sqlite:///{tmp_path / 'impatient.db'}")
    upgrade(engine)
    engine.dispose()

    @event.listens_for(engine, "connect")
    def _wait_less(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout=20")

    yield engine
    engine.dispose()


@SOURCES
def test_a_locked_database_is_503_and_the_repetition_is_taken(
    source: str, said: dict[str, Any], impatient: Engine
) -> None:
    """Nothing is accepted that is not stored: the sender is asked to come back, and then it is taken, once."""
    store = make_store(impatient)
    with open_doors(store, impatient) as doors:
        with closing(sqlite3.connect(str(impatient.url.database))) as other:
            other.execute("BEGIN IMMEDIATE")
            refused = doors.knock(source, said)
            other.rollback()
        assert (refused.status, refused.headers["Retry-After"].isdigit()) == (503, True)
        assert "try again" in _reason(refused)
        assert doors.counted()["events"] == 0
        assert doors.knock(source, said).status == 202
        assert doors.counted()["events"] == 1
    store.close()


class BusyStore:
    """A store that cannot write."""

    def write(self, work: object) -> None:
        """See `Store`."""
        raise StorageUnavailable("locked, sesame")

    def read(self, work: object) -> None:
        """See `Store`."""
        raise StorageUnavailable("locked, sesame")


def test_a_busy_database_is_503(sqlite_database: Engine) -> None:
    """The answer says when to come back, and not what happened inside; bad input is still told apart."""
    with open_doors(BusyStore(), sqlite_database) as doors:  # type: ignore[arg-type] # nothing is written
        answer = doors.knock("generic", GENERIC)
        assert (answer.status, answer.headers["Retry-After"].isdigit()) == (503, True)
        assert b"sesame" not in answer.body
        assert doors.knock("generic", b"not JSON").status == 400


def test_a_mistake_of_ours_is_503(doors: Doors) -> None:
    """A source whose code fails asks for the delivery again, for a later version to take, and tells no one why."""
    answer = doors.post("broken", b"{}", {})
    assert (answer.status, answer.headers["Retry-After"].isdigit()) == (503, True)
    assert b"sesame" not in answer.body
