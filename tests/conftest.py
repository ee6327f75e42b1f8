"""Plugins of the whole test suite, plain log lines, and the same generated examples at every judgement of a change."""

import os

import structlog
from hypothesis import HealthCheck, settings

# As the bot itself writes them: by itself structlog draws a mistake in a frame, with all variables, for seconds.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer(colors=False),
    ]
)

# How long an example takes says something of the machine, which may be busy, and nothing of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
if os.environ.get("CI"):  # new examples are looked for everywhere else
    settings.register_profile("ci", derandomize=True)
    settings.load_profile("ci")

pytest_plugins = [
    "tests.needs",
    "tests.golden",
    "tests.postgres_server",
    "tests.prometheus_server",
    "tests.stores",
    "tests.buildbot_server",
    "tests.scenarios.buildbot_scene",
]
