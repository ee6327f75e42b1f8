"""The real Buildbot for the tests of this folder."""

from tests.buildbot_server import buildbot_server

__all__ = ["buildbot_server"]
