"""A world for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import requests
from sqlalchemy import Engine

from integrations.transport import open_session
from tests.holding import nobody_holds_two
from tests.services.world import World
from tests.stores import SqlStore


@pytest.fixture
def make_world(store: SqlStore, database: Engine) -> Iterator[Callable[..., World]]:
    """Make a world with wishes of its own, in which no thread waits for a connection while it holds one."""
    with nobody_holds_two(database, store):
        yield lambda **wishes: World(store, database, **wishes)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """One route to one channel, everybody known, nothing broken."""
    return make_world()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """The application's session, whose connections are closed afterwards."""
    with open_session() as opened:
        yield opened
