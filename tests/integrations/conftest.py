"""What the tests of all integrations share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from integrations.transport import open_session


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """The application's session, whose connections are closed afterwards."""
    with open_session() as opened:
        yield opened
