"""What is typed about deployments means one deployment, or none."""

from __future__ import annotations

import pytest

from bot.domain.deployment_lines import NumberLine, parse_chart, parse_number, parse_rollback
from bot.errors import CommandInvalid


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("12", NumberLine(12)),
        ("#12", NumberLine(12)),
        ("user-service#12", NumberLine(12, "user-service")),
        ("v3#4", NumberLine(4, "v3")),
        ("shipmate/user-service#12", NumberLine(12, "user-service")),
        ("deployment:shipmate/user-service#105 not on a Friday", NumberLine(105, "user-service", "not on a Friday")),
        ("105 because of 3 errors", NumberLine(105, "", "of 3 errors")),
    ],
)
def test_a_number_is_read_as_it_stands(typed: str, meant: NumberLine) -> None:
    """Every digit counts, and the service that was named goes with it."""
    assert parse_number(typed.split(), "approve …") == meant


@pytest.mark.parametrize("typed", ["v3", "USER-14", "user-service12", "user-service#", "user-service#1a", "#", "1#2#3"])
def test_a_word_that_ends_in_digits_is_no_deployment(typed: str) -> None:
    """A version or an issue's key is not taken for the deployment whose number it ends in."""
    with pytest.raises(CommandInvalid) as refused:
        parse_number([typed], "approve …")
    assert (refused.value.problem, refused.value.suggestion) == ("malformed_deployment", typed)


def test_a_rollback_and_a_chart_name_their_deployment() -> None:
    """With all of its digits, and its service."""
    asked, number = parse_rollback(["user-service#17", "in", "production"])
    assert (asked.service, asked.environment, number) == ("user-service", "production", 17)
    assert parse_chart(["user-service#17", "errors"]) == (NumberLine(17, "user-service"), "errors")
    assert parse_chart(["user-service"]) == ("user-service", "")
