"""Small pictures of how a value went on: its line, its limits, and when the deployment began. Needs the extra `charts`.

The module implements `Charts`. Chinese words need a font that has them (Debian: fonts-noto-cjk).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from bot.ports.charts import Chart
from bot.ports.metrics import Point
from integrations.texts import clean_line

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

WIDTH, HEIGHT = 720, 300
MOST_LINES = 8
MAX_WORDS = 200
_SCALE = 2  # drawn larger and made smaller: smooth lines
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 18, 44, 34
_TEXT_SIZE, _TITLE_SIZE = 12, 15
_INK, _PALE, _GRID, _PAPER = "#1d2430", "#667085", "#e6e8ec", "#ffffff"
_BAD, _BAD_AREA, _MARK = "#d92d20", "#fdecea", "#7a5af8"
_LINES = ("#1570ef", "#0e9384", "#dc6803", "#9e77ed", "#4a5578", "#c11574", "#3b7c0f", "#026aa2")
_STEPS_S = (1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)
_WIDE_FROM = "\u2e80"  # the first of the letters that only fonts for Chinese, Japanese and Korean have
_FONTS = (
    ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", 0, False),
    ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", 2, True),
    ("/usr/share/fonts/opentype/noto-cjk/NotoSansCJK-Regular.ttc", 2, True),
    ("/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc", 2, True),
    ("/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc", 0, True),
    ("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc", 0, True),
    ("/System/Library/Fonts/PingFang.ttc", 0, True),
    ("/System/Library/Fonts/STHeiti Light.ttc", 0, True),
    ("C:/Windows/Fonts/msyh.ttc", 0, True),
)


def is_available() -> bool:
    """Whether the extra is installed."""
    return find_spec("PIL") is not None


def can_draw(text: str) -> bool:
    """Whether this host has a font for a text."""
    return not _is_wide(text) or any(Path(path).exists() for path, _, has_wide in _FONTS if has_wide)


def render_png(chart: Chart) -> bytes:
    """The picture, 720 by 300 points at twice the size; ImportError without the extra."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), _PAPER)
    pen = _Pen(ImageDraw.Draw(image))
    pen.text((_LEFT, 12), chart.title, _INK, size=_TITLE_SIZE)
    lines = dict(list(chart.lines.items())[:MOST_LINES])
    points = [point for line in lines.values() for point in line if math.isfinite(point.value)]
    if points:
        _draw(pen, chart, lines, _frame(chart, points))
    else:
        pen.text((WIDTH / 2, HEIGHT / 2), chart.nothing, _PALE, anchor="mm", size=_TITLE_SIZE)
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where an instant and a value are in the picture."""

    begins: float
    ends: float
    least: float
    most: float

    def x(self, at: float) -> float:
        return _LEFT + (at - self.begins) / (self.ends - self.begins) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (min(max(value, self.least), self.most) - self.least) / (self.most - self.least)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)


class _Pen:
    """Draws in points of the finished picture."""

    def __init__(self, draw: ImageDraw) -> None:
        self._draw = draw

    def line(self, path: Sequence[tuple[float, float]], colour: str, width: float = 1.0) -> None:
        scaled = [(x * _SCALE, y * _SCALE) for x, y in path]
        self._draw.line(scaled, fill=colour, width=round(width * _SCALE), joint="curve")

    def dashes(self, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
        length = math.dist(start, end)
        along = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
        for begins in range(0, math.ceil(length), 8):
            ends = min(begins + 5, length)
            path = [(start[0] + along[0] * at, start[1] + along[1] * at) for at in (begins, ends)]
            self.line(path, colour, 1.5)

    def area(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        if bottom > top:
            self._draw.rectangle([one * _SCALE for one in (left, top, right, bottom)], fill=colour)

    def dot(self, x: float, y: float, colour: str, radius: float = 2.5) -> None:
        box = (x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse([one * _SCALE for one in box], fill=colour)

    def text(
        self, at: tuple[float, float], words: str, colour: str, *, anchor: str = "la", size: int = _TEXT_SIZE
    ) -> None:
        words = clean_line(words, MAX_WORDS)
        font = _font(size * _SCALE, is_wide=_is_wide(words))
        room = (WIDTH - _RIGHT - (at[0] if anchor[0] == "l" else 0)) * _SCALE
        while words and font.getlength(words) > room:
            words = words[:-2].rstrip("…") + "…" if len(words) > 2 else ""
        self._draw.text((at[0] * _SCALE, at[1] * _SCALE), words, fill=colour, font=font, anchor=anchor)


def _frame(chart: Chart, points: Sequence[Point]) -> _Frame:
    times = [point.at for point in points] + list(chart.marks.values())
    begins, ends = min(times), max(times)
    if ends - begins < 1:
        begins, ends = begins - 30, ends + 30
    values = [point.value for point in points]
    values += [limit for limit in (chart.lowest, chart.highest) if limit is not None and math.isfinite(limit)]
    least, most = min(values), max(values)
    room = (most - least) * 0.12 or max(abs(most) * 0.5, 1.0)
    return _Frame(begins, ends, 0.0 if 0 <= least <= most * 0.5 else least - room, most + room)


def _draw(pen: _Pen, chart: Chart, lines: Mapping[str, Sequence[Point]], frame: _Frame) -> None:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    if chart.highest is not None:
        pen.area(_LEFT, _TOP, right, frame.y(chart.highest), _BAD_AREA)
    if chart.lowest is not None:
        pen.area(_LEFT, frame.y(chart.lowest), right, bottom, _BAD_AREA)
    _draw_axes(pen, chart, frame)
    for limit in (chart.lowest, chart.highest):
        if limit is not None:
            pen.dashes((_LEFT, frame.y(limit)), (right, frame.y(limit)), _BAD)
    for label, at in chart.marks.items():
        x = frame.x(at)
        is_left = x < WIDTH / 2
        pen.dashes((x, _TOP), (x, bottom), _MARK)
        pen.text((x + 4 if is_left else x - 4, _TOP + 2), label, _MARK, anchor="la" if is_left else "ra")
    for index, (name, line) in enumerate(lines.items()):
        _draw_line(pen, chart, frame, line, _LINES[index])
        if len(lines) > 1:
            _name_line(pen, index, name)


def _draw_line(pen: _Pen, chart: Chart, frame: _Frame, line: Sequence[Point], colour: str) -> None:
    """Its stretches, with a dot for a point that stands alone and for each that is beyond a limit."""
    for run in _runs(line):
        path = [(frame.x(point.at), frame.y(point.value)) for point in run]
        if len(path) > 1:
            pen.line(path, colour, 2)
        for point, (x, y) in zip(run, path, strict=True):
            if _is_beyond(chart, point.value):
                pen.dot(x, y, _BAD)
            elif len(path) == 1:
                pen.dot(x, y, colour)


def _draw_axes(pen: _Pen, chart: Chart, frame: _Frame) -> None:
    bottom = HEIGHT - _BOTTOM
    for value in _ticks(frame.least, frame.most):
        y = frame.y(value)
        pen.line([(_LEFT, y), (WIDTH - _RIGHT, y)], _GRID)
        pen.text((_LEFT - 8, y), f"{value:.4g}", _PALE, anchor="rm")
    zone = ZoneInfo(chart.timezone)
    step_s = next((one for one in _STEPS_S if (frame.ends - frame.begins) / one <= 7), _STEPS_S[-1])
    at = math.ceil(frame.begins / step_s) * step_s
    while at <= frame.ends:
        shown = datetime.fromtimestamp(at, zone)
        pen.text(
            (frame.x(at), bottom + 8), f"{shown:%H:%M}" + (f"{shown::%S}" if step_s < 60 else ""), _PALE, anchor="ma"
        )
        at += step_s


def _name_line(pen: _Pen, index: int, name: str) -> None:
    y = _TOP + 6 + index * 15
    pen.line([(_LEFT + 8, y + 7), (_LEFT + 22, y + 7)], _LINES[index], 2)
    pen.text((_LEFT + 28, y), name[:60], _INK)


def _runs(line: Sequence[Point]) -> Iterator[list[Point]]:
    """Stretches of a line without a gap: what is no number breaks it, and so does a hole of several steps."""
    gaps = sorted(after.at - before.at for before, after in pairwise(line))
    widest = 3 * gaps[len(gaps) // 2] if gaps else 0.0
    run: list[Point] = []
    for point in line:
        if run and (not math.isfinite(point.value) or point.at - run[-1].at > widest):
            yield run
            run = []
        if math.isfinite(point.value):
            run.append(point)
    if run:
        yield run


def _ticks(least: float, most: float) -> list[float]:
    """Round values, four to nine of them."""
    rough = (most - least) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(least / step)
    return [round(index * step, 12) for index in range(first, math.floor(most / step) + 1)]


def _is_beyond(chart: Chart, value: float) -> bool:
    return (chart.highest is not None and value > chart.highest) or (chart.lowest is not None and value < chart.lowest)


def _is_wide(text: str) -> bool:
    return any(letter >= _WIDE_FROM for letter in text)


@lru_cache(maxsize=16)
def _font(size: int, *, is_wide: bool) -> FreeTypeFont:
    """A font of the host that has such letters, else one of the host's, else Pillow's own, which has Latin ones."""
    from PIL import ImageFont

    found = [one for one in _FONTS if Path(one[0]).exists()]
    fitting = [one for one in found if one[2] or not is_wide] or found
    if fitting:
        path, index, _ = fitting[0]
        return ImageFont.truetype(path, size, index=index, layout_engine=ImageFont.Layout.BASIC)
    own = ImageFont.load_default(size)
    assert isinstance(own, ImageFont.FreeTypeFont)
    return own
