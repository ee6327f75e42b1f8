"""Plugins of the whole test suite, and the same generated examples at every judgement of a change."""

import os

from hypothesis import settings

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
