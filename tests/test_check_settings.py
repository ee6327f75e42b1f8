"""One check as the configuration writes it: what each kind takes, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bot.check_settings import CheckSettings
from bot.domain.checks import Aggregate, CheckKind, CheckSpec, Policy, Verdict
from bot.settings import config_error

METRIC = {"kind": "metric", "source": "prometheus", "query": "up", "max_value": 0.01}
COMPARE = {"kind": "compare", "source": "prometheus", "query": "up", "max_ratio": 1.5}
HTTP = {"kind": "http", "url": "https://{{service}}.internal/health"}
TCP = {"kind": "tcp", "host": "db.internal", "port": 5432}
MONITOR = {"kind": "monitor", "source": "datadog", "monitor": "42"}


def refusal(section: dict[str, Any]) -> str:
    """What is said of a section under `checks.errors`."""
    with pytest.raises(ValidationError) as refused:
        CheckSettings.model_validate(section)
    return str(config_error("checks.errors", refused.value, CheckSettings))


def test_a_metric_check_becomes_a_spec() -> None:
    """With the words for lengths of time, and policies for what it says and what it does not."""
    section = METRIC | {
        "query": 'sum(rate(errors{app="{{service}}"}[{{window}}]))',
        "aggregate": "max",
        "duration": "10m",
        "interval": "30s",
        "window": "2m",
        "delay": "1m",
        "failure_limit": 2,
        "successes": 5,
        "on": {"error": "alert"},
    }
    assert CheckSettings.model_validate(section).spec("errors") == CheckSpec(
        "errors",
        CheckKind.METRIC,
        source="prometheus",
        query='sum(rate(errors{app="{{service}}"}[{{window}}]))',
        aggregate=Aggregate.MAX,
        max_value=0.01,
        window_s=120,
        delay_s=60,
        duration_s=600,
        interval_s=30,
        failure_limit=2,
        successes=5,
        on={
            Verdict.PASSED: Policy.IGNORE,
            Verdict.FAILED: Policy.ROLLBACK,
            Verdict.NO_DATA: Policy.ASK,
            Verdict.ERROR: Policy.ALERT,
        },
    )


@pytest.mark.parametrize("section", [METRIC, COMPARE, HTTP, TCP, MONITOR])
def test_every_kind_needs_little(section: dict[str, Any]) -> None:
    """The rest has defaults, the same as a spec's own."""
    spec = CheckSettings.model_validate(section).spec("check")
    query = section.get("query") or section.get("monitor", "")
    rest = {name: value for name, value in section.items() if name not in ("kind", "query", "monitor")}
    assert spec == CheckSpec("check", CheckKind(section["kind"]), query=query, **rest)


def test_a_limit_of_nothing_is_a_limit() -> None:
    """No error at all is a sensible wish."""
    assert CheckSettings.model_validate(METRIC | {"max_value": 0}).spec("errors").limit == "≤ 0"


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"kind": "ping"}, "checks.errors.kind: must be 'metric', 'compare', 'http', 'tcp' or 'monitor'"),
        (METRIC | {"url": "http://x"}, "checks.errors: url means nothing to a check of kind metric"),
        (HTTP | {"port": 80}, "checks.errors: port means nothing to a check of kind http"),
        (TCP | {"expected_status": 200}, "checks.errors: expected_status means nothing to a check of kind tcp"),
        ({"kind": "http"}, "checks.errors: a check of kind http needs url"),
        ({"kind": "tcp", "host": "db"}, "checks.errors: a check of kind tcp needs port"),
        (
            {"kind": "metric", "source": "p", "query": "up"},
            "checks.errors: a check of kind metric needs max_value or min_value or expected_value",
        ),
        (
            {"kind": "compare", "source": "p", "query": "up"},
            "checks.errors: a check of kind compare needs max_ratio or min_ratio or max_increase or max_decrease",
        ),
        ({"kind": "monitor", "source": "datadog"}, "checks.errors: a check of kind monitor needs monitor"),
        (METRIC | {"max_value": float("nan")}, "checks.errors.max_value: must be a finite number"),
        (
            METRIC | {"duration": "5 minutes"},
            "checks.errors.duration: must be a length of time up to a day, such as 10s or 5m",
        ),
        (METRIC | {"duration": "off"}, "checks.errors.duration: must be a length of time up to a day"),
        (METRIC | {"duration": "2d"}, "checks.errors.duration: must be a length of time up to a day"),
        (METRIC | {"interval": "10m"}, "checks.errors: interval is longer than duration"),
        (METRIC | {"delay": "5m"}, "checks.errors: delay leaves nothing of duration"),
        (HTTP | {"timeout": "8s", "retries": 2}, "checks.errors: timeout with all retries is more than 20s"),
        (METRIC | {"failure_limit": 0}, "checks.errors.failure_limit: must be greater than or equal to 1"),
        (METRIC | {"on": {"passed": "rollback"}}, "checks.errors.on.passed: is no known setting"),
        (
            METRIC | {"on": {"failed": "panic"}},
            "checks.errors.on.failed: must be 'rollback', 'alert', 'ask' or 'ignore'",
        ),
        (METRIC | {"query": "up{app='{{servce}}'}"}, "checks.errors.query: {{servce}} is none of commit, environment"),
        (METRIC | {"query": "up{app='{{Service}}'}"}, "checks.errors.query: a {{ does not begin a name"),
        (HTTP | {"url": "http://x/{{window}}"}, "checks.errors.url: {{window}} is none of commit, environment"),
        (HTTP | {"url": "x/health"}, "checks.errors.url: must be an http or https address"),
        (HTTP | {"url": "http://[::1/"}, "checks.errors.url: must be an http or https address"),
        (HTTP | {"url": "http://x/a b"}, "checks.errors.url: must be an http or https address"),
        (HTTP | {"url": "http://me:pass@x/"}, "checks.errors.url: must not hold credentials"),
        (HTTP | {"expected_status": 20}, "checks.errors.expected_status: must be greater than or equal to 100"),
        (TCP | {"host": "http://db"}, "checks.errors.host: must be a name or an address"),
        (TCP | {"port": 70000}, "checks.errors.port: must be less than or equal to 65535"),
    ],
)
def test_what_cannot_be_meant_is_refused(section: dict[str, Any], words: str) -> None:
    """With the place of the setting, and what would be right."""
    assert refusal(section).startswith(words)
