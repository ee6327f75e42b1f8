"""What is typed about deployments means one deployment, or none."""

from __future__ import annotations

import pytest

from bot.domain.deployment_lines import (
    LATEST,
    DeployLine,
    NumberLine,
    PlaceLine,
    SpanLine,
    parse_chart,
    parse_checks,
    parse_deploy,
    parse_number,
    parse_place,
    parse_rollback,
    parse_span,
)
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
        ("105 no reason to ship on Friday", NumberLine(105, "", "no reason to ship on Friday")),
        ("105 因为周五不发布", NumberLine(105, "", "周五不发布")),
        ("105 原因：压测 中", NumberLine(105, "", "压测 中")),
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


def test_a_chinese_reason_needs_no_space() -> None:
    """People write what follows 因为 right behind it."""
    assert parse_place(["user-service", "因为压测"], "lock …") == PlaceLine("user-service", reason="压测")
    asked = parse_deploy(["user-service", "v2", "到", "production", "因为紧急修复", "登录"])
    assert asked == DeployLine("user-service", "v2", "production", "紧急修复 登录")


def test_a_rollback_and_a_chart_name_their_deployment() -> None:
    """With all of its digits, and its service."""
    asked, number = parse_rollback(["user-service#17", "in", "production"])
    assert (asked.service, asked.environment, number) == ("user-service", "production", 17)
    assert parse_chart(["user-service#17", "errors"]) == (NumberLine(17, "user-service"), "errors")
    assert parse_chart(["user-service"]) == ("user-service", "")


@pytest.mark.parametrize(
    ("typed", "meant", "reason"),
    [
        ("", (), ""),
        ("errors", ("errors",), ""),
        ("errors,health", ("errors", "health"), ""),
        ("errors, health because it is a known one", ("errors", "health"), "it is a known one"),
        ("errors，health 因为已知", ("errors", "health"), "已知"),
        ("errors、health", ("errors", "health"), ""),
        ("because errors are known", (), "errors are known"),
        ("因为已知", (), "已知"),
    ],
)
def test_an_answer_names_checks_or_is_about_all(typed: str, meant: tuple[str, ...], reason: str) -> None:
    """What follows `because` is a reason, whatever it names."""
    assert parse_checks(typed.split(), ["errors", "health"]) == (meant, reason)


@pytest.mark.parametrize("typed", ["latancy", "errors latancy", "errors are known, fine", "it looks fine to me"])
def test_an_answer_with_another_word_is_none(typed: str) -> None:
    """A check that is misspelt, or a reason that is not said to be one, speaks for no check at all."""
    with pytest.raises(CommandInvalid, match="none_of_its_checks") as refused:
        parse_checks(typed.split(), ["errors", "health"])
    assert refused.value.suggestion == "errors, health"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("site", SpanLine("site")),
        ("site in production", SpanLine("site", "production")),
        ("site v1 v2", SpanLine("site", "v1", "v2")),
        ("site from production to latest green", SpanLine("site", "production", LATEST)),
        ("site 从 最新 到 v2", SpanLine("site", LATEST, "v2")),
    ],
)
def test_two_ends_are_read_in_their_order(typed: str, meant: SpanLine) -> None:
    """With or without the words between them."""
    assert parse_span(typed.split()) == meant


@pytest.mark.parametrize("typed", ["", "to", "site v1 v2 v3", "site latest green v2"])
def test_more_or_fewer_ends_are_no_span(typed: str) -> None:
    """One that is too many is not passed over."""
    with pytest.raises(CommandInvalid) as refused:
        parse_span(typed.split())
    assert refused.value.problem == "missing_argument"
