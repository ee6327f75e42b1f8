"""Queries for metrics, as people copy them from a dashboard: `sum:errors{service:web}.as_count() / sum:hits{*}`.

Language: https://docs.datadoghq.com/metrics/advanced-filtering/ and
https://docs.datadoghq.com/dashboards/functions/. API v2 takes each metric as a query of its own, and what is reckoned
with them as a formula.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.domain.templates import fill, names_in
from bot.ports.metrics import Query

MOST_METRICS = 26
_METRIC = re.compile(
    r"""
    (?: (?P<aggregate> avg|sum|min|max|count|p\d+(?:\.\d+)? ) : )?
    (?P<metric> [A-Za-z][A-Za-z0-9_.]* )
    \{ (?P<scope> [^{}]* ) \}
    (?: \s* by \s* \{ [^{}]* \} )?
    (?: \. [a-z_]+ \( [^()]* \) )*
    """,
    re.VERBOSE,
)
_FORMULA = re.compile(r"[A-Za-z0-9_.,+\-*/()'\"\s]*")
_NOT_IN_A_TAG = re.compile(r"[^\w\-:./]")


@dataclass(frozen=True, slots=True)
class Parsed:
    """A query taken apart: the metrics in it, named a, b, c …, and what is reckoned with them.

    `metric`, `scope` and `aggregate` are those of the first.
    """

    text: str
    queries: tuple[str, ...]
    formula: str
    metric: str
    scope: str
    aggregate: str


def parse(query: Query) -> Parsed:
    """ValueError, with what is wrong, for what cannot be a query."""
    if unknown := names_in(query.template) - set(query.values):
        raise ValueError(f"{{{{{min(unknown)}}}}} is no known name")
    text = fill(query.template, query.values, tag_value)
    found = list(_METRIC.finditer(text))
    if not found:
        raise ValueError("names no metric with its scope, such as avg:system.cpu.user{*}")
    if len(found) > MOST_METRICS:
        raise ValueError(f"names more than {MOST_METRICS} metrics")
    names = iter("abcdefghijklmnopqrstuvwxyz")
    formula = _METRIC.sub(lambda _: next(names), text).strip()
    if not _FORMULA.fullmatch(formula):
        wrong = next(sign for sign in formula if not _FORMULA.fullmatch(sign))
        raise ValueError(f"{wrong!r} is out of place, or a brace is not closed")
    if not _is_closed(formula):
        raise ValueError("a parenthesis is not closed")
    first = found[0]
    return Parsed(
        text,
        tuple(one[0] for one in found),
        formula,
        first["metric"],
        first["scope"],
        first["aggregate"] or "avg",
    )


def tag_value(value: str) -> str:
    """A value as Datadog keeps it in a tag: https://docs.datadoghq.com/getting_started/tagging/#define-tags."""
    return _NOT_IN_A_TAG.sub("_", value.lower())


def _is_closed(text: str) -> bool:
    depth = 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return False
    return depth == 0
