"""Queries as people copy them from dashboards: what is a metric, what is reckoned, what is neither."""

from __future__ import annotations

import pytest

from bot.ports.metrics import Query
from integrations.datadog.query import parse


@pytest.mark.parametrize(
    ("text", "queries", "formula"),
    [
        ("avg:system.cpu.user{*}", ("avg:system.cpu.user{*}",), "a"),
        (" system.load.1{host:a} ", ("system.load.1{host:a}",), "a"),
        (
            "100 * sum:errors{service:web,env:prod}.as_count() / sum:hits{service:web}.as_count()",
            ("sum:errors{service:web,env:prod}.as_count()", "sum:hits{service:web}.as_count()"),
            "100 * a / b",
        ),
        (
            "default_zero(p95:trace.request{env:prod AND (a:1 OR b:2)} by {host,az}.rollup(avg, 60))",
            ("p95:trace.request{env:prod AND (a:1 OR b:2)} by {host,az}.rollup(avg, 60)",),
            "default_zero(a)",
        ),
    ],
)
def test_a_query_is_taken_apart(text: str, queries: tuple[str, ...], formula: str) -> None:
    """Each metric with its scope, grouping and functions; the rest is the formula."""
    parsed = parse(Query(text))
    assert (parsed.queries, parsed.formula) == (queries, formula)


def test_a_value_stays_within_its_tag() -> None:
    """It is written as Datadog keeps tags, so that it finds them and ends nothing."""
    parsed = parse(
        Query("avg:cpu{service:{{service}},version:{{version}}}", {"service": "Web Shop} + x{", "version": "1+b"})
    )
    assert parsed.queries == ("avg:cpu{service:web_shop____x_,version:1_b}",)
    assert (parsed.metric, parsed.scope, parsed.aggregate) == ("cpu", "service:web_shop____x_,version:1_b", "avg")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no metric with its scope"),
        ("avg:system.cpu.user", "names no metric with its scope"),
        ("avg:cpu{*", "names no metric with its scope"),
        ("avg:cpu{*}}", "'}' is out of place"),
        ("avg:cpu{*} > 5", "'>' is out of place"),
        ("abs(avg:cpu{*}", "a parenthesis is not closed"),
        ("avg:cpu{*}) + (1", "a parenthesis is not closed"),
        ("avg:cpu{app:{{servce}}}", "{{servce}} is no known name"),
        (" + ".join(["a{*}"] * 27), "names more than 26 metrics"),
    ],
)
def test_what_can_be_no_query_is_refused(text: str, words: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValueError) as refused:
        parse(Query(text))
    assert words in str(refused.value)
