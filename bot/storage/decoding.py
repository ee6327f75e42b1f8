"""JSON as the database holds it, some of which may be no JSON, or none that Python reads."""

from __future__ import annotations

import json
from typing import Any


def loads_or_none(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """A stored value; None for one that cannot be decoded, which no value of ours is.

    Whoever reads a row judges it by itself: were an error raised here, the rows beside it would be lost with it.
    """
    try:
        return json.loads(text)
    except ValueError:
        return None
