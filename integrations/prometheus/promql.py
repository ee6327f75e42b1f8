"""Queries in PromQL: templates filled in so that a value stays a value, and refused when they cannot be one.

Language: https://prometheus.io/docs/prometheus/latest/querying/basics/#string-literals. In "…" and '…' Go's escapes
hold, in `…` none does.
"""

from __future__ import annotations

import re

from bot.domain.templates import fill, names_in
from bot.ports.metrics import Query

_TOKEN = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|#[^\n]*|\{\{\s*[a-z_]+\s*\}\}""", re.DOTALL)
_BARE = re.compile(r"[A-Za-z0-9_:.]+")
_REGEX_SIGNS = re.compile(r"[\\.+*?()|\[\]{}^$]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_RANGE_BEHIND_A_CALL = re.compile(r"\)\s*\[[^\]]*\]")


def render(query: Query) -> str:
    """The text of a query. Values are escaped for where they stand: in a string, in a regular expression, or bare.

    ValueError for a name without a value, and for a value that cannot stand where it is asked for.
    """
    if unknown := names_in(query.template) - set(query.values):
        raise ValueError(f"{{{{{min(unknown)}}}}} is no known name")
    return _TOKEN.sub(lambda found: _filled(found, query), query.template)


def check(query: Query) -> None:
    """ValueError, with the parser's words, for what is no PromQL or gives no numbers."""
    import promql_parser  # a binary of several megabytes, for configurations that have queries

    text = render(query)
    try:
        parsed = promql_parser.parse(text)
    except ValueError as problem:
        hint = ": a range such as [5m] stands directly behind a selector" if _RANGE_BEHIND_A_CALL.search(text) else ""
        raise ValueError(f"is no PromQL: {problem}{hint}") from None
    while isinstance(parsed, promql_parser.ParenExpr):
        parsed = parsed.expr
    if isinstance(parsed, promql_parser.MatrixSelector | promql_parser.SubqueryExpr):
        raise ValueError("gives ranges of values, not a value: wrap it in rate(), avg_over_time() or the like")
    if isinstance(parsed, promql_parser.StringLiteral):
        raise ValueError("gives a text, not a value")


def _filled(found: re.Match[str], query: Query) -> str:
    token = found[0]
    if token.startswith("#"):
        return ""
    if token.startswith("{{"):
        return fill(token, query.values, _bare)
    is_regex = query.template[: found.start()].rstrip().endswith(("=~", "!~"))
    return fill(token, query.values, lambda value: _quoted(value, token[0], is_regex=is_regex))


def _bare(value: str) -> str:
    if not _BARE.fullmatch(value):
        raise ValueError(f"{value!r} can only stand between quotes")
    return value


def _quoted(value: str, quote: str, *, is_regex: bool) -> str:
    if _CONTROL.search(value):
        raise ValueError("a value holds control characters")
    if is_regex:
        value = _REGEX_SIGNS.sub(r"\\\g<0>", value)
    if quote == "`":
        if "`" in value:
            raise ValueError(f"{value!r} cannot stand between backticks")
        return value
    return value.replace("\\", "\\\\").replace(quote, f"\\{quote}")
