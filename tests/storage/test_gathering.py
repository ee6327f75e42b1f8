"""How the writer's groups come about."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from bot.ports import Arrival, Transaction
from bot.storage import groups
from bot.storage.groups import BUSY_GROUP, GATHER_S, Piece, Submitted, Writer

ARRIVAL = Arrival((), 0.0)


class Groups:
    """A writer whose groups only note their sizes; the first one stays under way until it is let go."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._has_begun, self.release = threading.Event(), threading.Event()
        self.writer = Writer(self._run)

    def submit(self, arrival: Arrival | None = ARRIVAL) -> Submitted[None]:
        """Hand in a piece."""
        return self.writer.submit(_nothing, arrival)

    def gather(self, count: int) -> None:
        """Write one piece, and then as many as came meanwhile."""
        first = self.submit()
        assert self._has_begun.wait(30)
        rest = [self.submit() for _ in range(count)]
        self.release.set()
        for one in (first, *rest):
            one.result()
        assert self.sizes == [1, count]

    def _run(self, pieces: Sequence[Piece]) -> list[None]:
        self._has_begun.set()
        assert self.release.wait(30)
        self.sizes.append(len(pieces))
        return [None for _ in pieces]


@pytest.fixture
def gathered() -> Iterator[Groups]:
    """A writer that is ended."""
    made = Groups()
    yield made
    made.release.set()
    made.writer.close()


def test_a_busy_door_waits_for_who_comes_back(gathered: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a group of many the next one takes who comes within a moment; after a small one nobody is waited for."""
    pauses: list[float] = []

    def come_back(seconds: float) -> None:
        pauses.append(seconds)
        gathered.submit()

    gathered.gather(BUSY_GROUP)
    monkeypatch.setattr(groups, "sleep", come_back)
    gathered.submit().result()
    assert (gathered.sizes[2:], pauses) == ([2], [GATHER_S])
    gathered.submit().result()
    assert (gathered.sizes[3:], pauses) == ([1], [GATHER_S])


def test_only_events_are_gathered(gathered: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people and workers write goes at once, however busy the door is."""
    gathered.gather(BUSY_GROUP)
    pauses: list[float] = []
    monkeypatch.setattr(groups, "sleep", pauses.append)
    gathered.submit(arrival=None).result()
    assert (gathered.sizes[2:], pauses) == ([1], [])


def _nothing(_tx: Transaction) -> None:
    return None
