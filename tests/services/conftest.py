"""A world for each test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from tests.services.world import World
from tests.stores import SqlStore


@pytest.fixture
def make_world(store: SqlStore, database: Engine) -> Callable[..., World]:
    """Make a world with wishes of its own."""
    return lambda **wishes: World(store, database, **wishes)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """One route to one channel, everybody known, nothing broken."""
    return make_world()
