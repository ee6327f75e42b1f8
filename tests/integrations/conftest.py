"""What the tests of all integrations share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session whose connections are closed afterwards."""
    with requests.Session() as opened:
        yield opened
