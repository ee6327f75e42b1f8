"""What services ask of whoever draws charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bot.ports.metrics import Point


@dataclass(frozen=True, slots=True)
class Chart:
    """What is to be seen: lines by their names, the least and the greatest value that are allowed, marked instants.

    Words are in the language of whoever looks; `nothing` is said where there is no point at all. Times are shown in
    `timezone`.
    """

    title: str
    lines: Mapping[str, Sequence[Point]]
    lowest: float | None = None
    highest: float | None = None
    marks: Mapping[str, float] = field(default_factory=dict)
    nothing: str = "no data"
    timezone: str = "UTC"


class Charts(Protocol):
    """Draws charts. Pure: the same chart is the same picture, on a host with the same fonts."""

    def is_available(self) -> bool:
        """Whether pictures can be drawn at all."""
        ...

    def can_draw(self, text: str) -> bool:
        """Whether there is a font for a text."""
        ...

    def render_png(self, chart: Chart) -> bytes:
        """The picture as PNG."""
        ...
