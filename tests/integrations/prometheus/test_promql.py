"""Templates become queries in which a value stays a value; what is no PromQL is refused in the parser's words."""

from __future__ import annotations

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.ports.metrics import Query
from integrations.prometheus.promql import check, render


@pytest.mark.parametrize(
    ("template", "value", "text"),
    [
        ('up{job="{{service}}"}', "user-service", 'up{job="user-service"}'),
        ('up{job="{{ service }}"}', "user-service", 'up{job="user-service"}'),
        ('up{job="{{service}}"}', 'x"} or vector(1) #', 'up{job="x\\"} or vector(1) #"}'),
        ('up{job="{{service}}"}', "a\\", 'up{job="a\\\\"}'),
        ("up{job='{{service}}'}", "it's", "up{job='it\\'s'}"),
        ("up{job=`{{service}}`}", 'a"\\', 'up{job=`a"\\`}'),
        ('up{job=~"{{service}}-.*"}', "user.service", 'up{job=~"user\\\\.service-.*"}'),
        ('up{job !~ "{{service}}"}', "a|b", 'up{job !~ "a\\\\|b"}'),
        ("up{job=~`{{service}}.*`}", "a.b", "up{job=~`a\\.b.*`}"),
        ("up_{{service}}", "user_service", "up_user_service"),
        ('up # all of "{{service}}"', "x", "up "),
    ],
)
def test_a_value_is_escaped_for_where_it_stands(template: str, value: str, text: str) -> None:
    """In each kind of quotes, in regular expressions and bare; comments are left out."""
    assert render(Query(template, {"service": value})) == text


@pytest.mark.parametrize(
    ("template", "value", "words"),
    [
        ("up_{{service}}", "user-service", "'user-service' can only stand between quotes"),
        ("rate(up[{{service}}])", "5m] or vector(1", "can only stand between quotes"),
        ("up{job=`{{service}}`}", "`", "cannot stand between backticks"),
        ('up{job="{{service}}"}', "a\nb", "control characters"),
        ('up{job="{{servce}}"}', "x", "{{servce}} is no known name"),
    ],
)
def test_a_value_that_cannot_stand_there_is_refused(template: str, value: str, words: str) -> None:
    """Rather than becoming a part of the query."""
    with pytest.raises(ValueError, match=words.replace("{", r"\{")):
        render(Query(template, {"service": value}))


@given(
    value=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30),
    quote=st.sampled_from("\"'"),
    operator=st.sampled_from(["=", "=~"]),
)
def test_whatever_a_value_holds_it_stays_within_its_quotes(value: str, quote: str, operator: str) -> None:
    """The parser reads one selector with one matcher, and in it exactly the value."""
    text = render(Query(f"up{{job{operator}{quote}{{{{service}}}}{quote}}}", {"service": value}))
    selector = promql_parser.parse(text)
    assert isinstance(selector, promql_parser.VectorSelector)
    (matcher,) = selector.matchers.matchers
    if operator == "=":
        assert matcher.value == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'sum(rate(http_requests_total{status=~"5.."})[5m])',
            "is no PromQL: expected type matrix in call to function 'rate', got vector: a range such as .* selector",
        ),
        ("sum(up", "is no PromQL: unclosed left parenthesis"),
        ("", "is no PromQL: no expression found"),
        ("upp(up)", "is no PromQL: unknown function with name 'upp'"),
        ("up[5m]", "gives ranges of values, not a value"),
        ("(up[5m])", "gives ranges of values, not a value"),
        ("rate(up[1m])[5m:1m]", "gives ranges of values, not a value"),
        ('"text"', "gives a text, not a value"),
    ],
)
def test_what_gives_no_value_is_refused(text: str, words: str) -> None:
    """With the parser's words, and a hint where a range stands behind a parenthesis."""
    with pytest.raises(ValueError, match=words):
        check(Query(text))


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "up",
        "(up)",
        'sum(rate(http_requests_total{status=~"5.."}[5m]))',
        'histogram_quantile(0.95, sum by (le) (rate(x_bucket{job="a"}[300s])))',
        "max_over_time(rate(up[1m])[5m:10s])",
        "up offset 1h",
    ],
)
def test_what_gives_values_is_accepted(text: str) -> None:
    """Numbers, selectors, functions over ranges."""
    check(Query(text))
