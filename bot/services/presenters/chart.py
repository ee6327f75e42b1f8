"""How the value of a check went on: the picture below a card, and the words for places that take none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bot.domain.cards import Action, Card, Code, Field, Lines, Notice, Paragraph, Picture, Section, Text, Tone, text
from bot.i18n import translate
from bot.ports.charts import Chart, Charts
from bot.ports.metrics import Point

SPARK_WIDTH = 40
MOST_LINES = 4
_SPARKS = "▁▂▃▄▅▆▇█"


def chart_card(
    chart: Chart, *, link: str | None, others: Sequence[tuple[str, str]], has_picture: bool, locale: str
) -> Card:
    """The answer to who asks for a chart; `others` are the names of further ones and the commands for them."""
    fields = []
    values = [point.value for line in chart.lines.values() for point in line if math.isfinite(point.value)]
    limit = _limit(chart)
    if limit:
        fields.append(Field(translate(locale, "Limit"), text(limit)))
    if values:
        fields.append(Field(translate(locale, "Least and most"), text(f"{min(values):.4g} … {max(values):.4g}")))
    drawn = tuple(_spark_line(name, line) for name, line in list(chart.lines.items())[:MOST_LINES] if _known(line))
    sections: list[Section] = [Lines(drawn)] if drawn else [Paragraph(text(chart.nothing))]
    actions = [Action(f"chart:{name}", name, command) for name, command in others]
    if link:
        actions.insert(0, Action("graph", translate(locale, "Open the graph"), url=link))
    note = translate(locale, "The picture comes in the thread of the card.") if has_picture else ""
    return Card(
        Tone.NEUTRAL,
        chart.title,
        emoji="📈",
        title_url=link,
        fields=tuple(fields),
        sections=tuple(sections),
        actions=tuple(actions),
        footer=text(note) if note else (),
        locale=locale,
        timezone=chart.timezone,
    )


def chart_notice(options: Mapping[str, Any], slot: str, charts: Charts | None) -> Notice:
    """What stands below the card: the picture, where it can be drawn, with the newest values."""
    chart, locale = chart_of(options["chart"]), options.get("locale", "en")
    newest = [f"{_known(line)[-1].value:.4g}" for line in chart.lines.values() if _known(line)]
    words = ", ".join(newest[:MOST_LINES]) or chart.nothing
    limit = _limit(chart)
    body = text(f"{chart.title}: {words}" + (f" ({limit})" if limit else ""))
    picture = None
    if charts is not None and charts.is_available():
        picture = Picture(charts.render_png(chart), chart.title, slot)
    return Notice("📈", body, locale=locale, timezone=chart.timezone, picture=picture)


def stored(chart: Chart) -> dict[str, Any]:
    """A chart as JSON values, to be drawn by whoever delivers it."""
    lines = list(chart.lines.items())[:MOST_LINES]
    kept = {name: [_pair(point) for point in line] for name, line in lines}
    return {**asdict(chart), "lines": kept, "marks": dict(chart.marks)}


def chart_of(kept: Mapping[str, Any]) -> Chart:
    """The reverse of `stored`."""
    lines = {
        name: [Point(at, math.nan if value is None else value) for at, value in line]
        for name, line in kept["lines"].items()
    }
    return Chart(**{**kept, "lines": lines})


def sparkline(line: Sequence[Point], width: int = SPARK_WIDTH) -> str:
    """The values in so many signs of eight heights, a blank where there was none."""
    step = max(1, math.ceil(len(line) / width))
    groups = [[point.value for point in line[at : at + step]] for at in range(0, len(line), step)]
    means = [_mean(group) for group in groups]
    known = [value for value in means if value is not None]
    if not known:
        return ""
    least, room = min(known), max(known) - min(known)
    heights = [None if value is None else round((value - least) / room * 7) if room else 0 for value in means]
    return "".join(" " if height is None else _SPARKS[height] for height in heights)


def _spark_line(name: str, line: Sequence[Point]) -> Text:
    newest = f" {_known(line)[-1].value:.4g}"
    return text(Code(sparkline(line)), newest, f" · {name[:80]}" if name.strip("{}") else "")


def _known(line: Sequence[Point]) -> list[Point]:
    return [point for point in line if math.isfinite(point.value)]


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else None


def _pair(point: Point) -> tuple[float, float | None]:
    return round(point.at, 1), float(f"{point.value:.6g}") if math.isfinite(point.value) else None


def _limit(chart: Chart) -> str:
    limits = (("≥ {}", chart.lowest), ("≤ {}", chart.highest))
    return ", ".join(words.format(f"{value:g}") for words, value in limits if value is not None)
