"""Pictures of values: their limits can be seen, gaps stay gaps, and words in both languages can be read."""

from __future__ import annotations

import io
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bot.ports.charts import Chart
from bot.ports.metrics import Point
from integrations import charts
from integrations.charts import HEIGHT, WIDTH, can_draw, is_available, render_png
from tests.needs import lacking

T0 = 1_700_000_000.0
GOOD = [Point(T0 + 10 * step, 0.2 + 0.02 * (step % 3)) for step in range(31)]
BAD = [*GOOD[:20], *(Point(T0 + 10 * step, 0.9) for step in range(20, 31))]
RED, BLUE, VIOLET = (217, 45, 32), (21, 112, 239), (122, 90, 248)


def picture(chart: Chart) -> Image.Image:
    """The picture as others would read it."""
    image = Image.open(io.BytesIO(render_png(chart)))
    image.load()
    assert image.format == "PNG"
    return image.convert("RGB")


def places(image: Image.Image, colour: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Where a colour stands, in points of the picture at its normal size."""
    wanted, width = re.escape(bytes(colour)), image.size[0]
    found = [one.start() // 3 for one in re.finditer(wanted, image.tobytes()) if one.start() % 3 == 0]
    return [(at % width // 2, at // width // 2) for at in found]


def test_a_line_is_drawn_from_its_first_to_its_last_point() -> None:
    """Within the picture, and small enough to be sent at once."""
    chart = Chart("Error rate", {"": GOOD})
    found = places(picture(chart), BLUE)
    assert picture(chart).size == (2 * WIDTH, 2 * HEIGHT)
    assert min(x for x, _ in found) < 70
    assert max(x for x, _ in found) > 690
    assert len(render_png(chart)) < 60_000


def test_a_limit_is_a_red_line_and_what_is_beyond_it_is_red() -> None:
    """The line lies above good values and below bad ones; bad values are marked."""
    good, bad = (places(picture(Chart("Error rate", {"": line}, highest=0.5)), RED) for line in (GOOD, BAD))
    rows = [y for _, y in good]
    assert max(rows) - min(rows) <= 3  # one dashed line
    assert len({x for x, _ in good}) > 300
    dots = {x for x, y in bad if y < min(y for _, y in bad) + 3}
    assert min(dots) > 460  # the last third of the time
    assert max(dots) > 690


def test_a_lower_limit_is_drawn_as_well() -> None:
    """Availability is bad where it is low."""
    assert places(picture(Chart("Availability", {"": GOOD}, lowest=0.1)), RED)


def test_the_beginning_of_a_deployment_is_marked() -> None:
    """An upright line at its instant."""
    found = places(picture(Chart("Error rate", {"": GOOD}, marks={"v1.2.0": T0 + 150})), VIOLET)
    middle = (64 + WIDTH - 18) / 2
    assert sum(abs(x - middle) <= 2 for x, _ in found) > 100


def test_a_gap_stays_a_gap() -> None:
    """Nothing is drawn where nothing was measured."""
    line = [*GOOD[:10], Point(T0 + 100, math.nan), *GOOD[20:]]
    found = {x for x, _ in places(picture(Chart("Error rate", {"": line})), BLUE)}
    assert not found & set(range(300, 460))


def test_words_can_be_read_in_both_languages() -> None:
    """Each letter has a picture of its own: a font that lacks them would draw the same box for all."""
    if not can_draw("错误率"):
        lacking("needs a font with Chinese letters: apt install fonts-noto-cjk (Debian, Ubuntu)")
    titles = ["Error rate", "Latency p95", "错误率", "响应率", "错误秒"]
    pictures = {title: picture(Chart(title, {}, nothing="")).tobytes() for title in titles}
    assert len(set(pictures.values())) == len(titles)


def test_a_host_without_fonts_still_draws_latin_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says that it has no others."""
    monkeypatch.setattr(charts, "_FONTS", ())
    charts._font.cache_clear()
    try:
        assert can_draw("Error rate ≤ 0.01")
        assert not can_draw("错误率")
        assert picture(Chart("Error rate", {})).tobytes() != picture(Chart("Latency", {})).tobytes()
        assert render_png(Chart("错误率", {"": GOOD}))
    finally:
        charts._font.cache_clear()


def test_nothing_measured_is_said() -> None:
    """Instead of an empty frame."""
    said = [picture(Chart("Error rate", {"": []}, nothing=words)).tobytes() for words in ("no data", "nothing")]
    assert said[0] != said[1]


def test_a_title_that_is_too_long_ends_within_the_picture() -> None:
    """The margin stays free."""
    image = picture(Chart("sum(rate(http_requests_total[5m])) " * 20, {"": GOOD}))
    assert image.crop((2 * WIDTH - 8, 0, 2 * WIDTH, 80)).getcolors() == [(8 * 80, (255, 255, 255))]


def test_it_says_whether_it_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra may be missing: then cards have a link and no picture."""
    assert is_available()
    monkeypatch.setattr(charts, "find_spec", lambda _: None)
    assert not is_available()


values = st.one_of(st.floats(-1e12, 1e12), st.sampled_from([0.0, math.nan, math.inf, -math.inf, 5e-324]))
limits = st.one_of(st.none(), st.floats(-1e12, 1e12))


@settings(max_examples=25, deadline=None)
@given(
    lines=st.dictionaries(
        st.text(max_size=5),
        st.lists(st.builds(Point, st.floats(T0, T0 + 1e6), values), max_size=20).map(
            lambda line: sorted(line, key=lambda one: one.at)
        ),
        max_size=10,
    ),
    lowest=limits,
    highest=limits,
    title=st.text(max_size=40),
)
def test_any_values_can_be_drawn(
    lines: dict[str, list[Point]], lowest: float | None, highest: float | None, title: str
) -> None:
    """Infinities, a single point, ten lines, letters of any script."""
    assert picture(Chart(title, lines, lowest, highest, {"v2": T0})).size == (2 * WIDTH, 2 * HEIGHT)
