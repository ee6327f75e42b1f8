"""One bot behind proxies for all tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.scene import Faulty, faulty_scene

LANES = (
    *("unread", "lost", "cut", "unframed", "page", "redirected", "500", "502", "503", "hiccup", "slow"),
    *("named", "hour", "silent", "soon", "endless", "refused", "expired", "token", "poisoned", "well"),
)


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """The scene, which `faulty` gives to one test after the other."""
    with faulty_scene(tmp_path_factory.mktemp("faults"), LANES) as running:
        yield running


@pytest.fixture
def faulty(unbroken: Faulty) -> Iterator[Faulty]:
    """The shared scene; what a test breaks is whole again after it."""
    yield unbroken
    unbroken.heal()
