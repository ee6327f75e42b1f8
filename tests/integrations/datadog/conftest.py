"""Datadog as its tests meet it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.answering import Answering
from tests.integrations.datadog.organisation import Organisation, listening


@pytest.fixture
def organisation() -> Iterator[Organisation]:
    """What Datadog knows; nothing that was asked, told or answered may contradict its specification."""
    known = Organisation()
    yield known
    assert known.problems == []


@pytest.fixture
def server(organisation: Organisation) -> Iterator[Answering]:
    """Its API."""
    answering = listening(organisation)
    yield answering
    answering.close()
