"""Waiting for conditions, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

Found = TypeVar("Found")
PATIENCE_S = 30.0


def wait_until(found: Callable[[], Found], what: str = "a condition", timeout_s: float = PATIENCE_S) -> Found:
    """Return the first true value of `found`; fail, naming `what`, after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (value := found()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(0.005)
    return value
