"""Names that no build has are answered at once, also where the database bounds what it stores."""

from __future__ import annotations

import pytest

from tests.services.world import World


@pytest.mark.parametrize("verb", ["retry", "cancel"])
@pytest.mark.parametrize("named", ["#" + 460 * "7", "#1@" + 420 * "7"], ids=["number", "attempt"])
def test_a_build_of_an_endless_name_is_not_looked_for(verb: str, named: str, world: World) -> None:
    """It ends with an answer; a database that refused to store it would have it tried again for half an hour."""
    world.builds.start()
    world.ask(f"{verb} user-service{named}")
    world.work()
    assert len(world.said) == 1
    assert set(world.states()) <= {"refused", "failed"}
    assert world.builds.requests == []
