"""One bot behind proxies for all tests that leave it as they found it, on each engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from tests.faults.scene import Faulty, faulty_scene
from tests.services.world import World
from tests.stores import MakeDatabase, SqlStore

LANES = (
    *("unread", "lost", "cut", "unframed", "page", "redirected", "500", "502", "503", "hiccup", "late"),
    *("named", "hour", "silent", "soon", "endless", "refused", "expired", "token", "poisoned", "well"),
)


@pytest.fixture(scope="session")
def unbroken(bot_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """The scene, which `faulty` gives to one test after the other."""
    with faulty_scene(tmp_path_factory.mktemp("faults"), LANES, sections=bot_database()) as running:
        yield running


@pytest.fixture
def faulty(unbroken: Faulty) -> Iterator[Faulty]:
    """The shared scene; what a test breaks is whole again after it."""
    yield unbroken
    unbroken.heal()


@pytest.fixture
def make_world(store: SqlStore, database: Engine) -> Callable[..., World]:
    """Make the services of a test, with wishes of its own, over each database."""
    return lambda **wishes: World(store, database, **wishes)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """The services with one channel."""
    return make_world()
