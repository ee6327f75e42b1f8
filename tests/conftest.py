"""Plugins, plain log lines and ports of the whole test suite, and the same examples at every judgement of a change."""

import os

import structlog
from hypothesis import HealthCheck, settings

from playground import loopback

# As the bot itself writes them: by itself structlog draws a mistake in a frame, with all variables, for seconds.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer(colors=False),
    ]
)

# Test processes side by side would find the same port free until one of them listens: each has ports of its own.
beside = min(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), 8)
own = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % beside
loopback.OWN_PORTS = loopback.OWN_PORTS[own::beside]

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
