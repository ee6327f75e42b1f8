"""Plugins of the whole test suite."""

pytest_plugins = [
    "tests.needs",
    "tests.golden",
    "tests.postgres_server",
    "tests.prometheus_server",
    "tests.stores",
    "tests.buildbot_server",
    "tests.scenarios.buildbot_scene",
]
