"""Buildbot 4.x (tested with 4.3): status pushes in; builds, stages and logs read; builds forced, rebuilt and stopped.

Documentation: https://docs.buildbot.net/4.3.0/ · set-up: docs/sources/buildbot.md. Pushes carry a token in a header and
are never repeated; the API needs a login by user and password; there are no rate limits.
"""

from integrations.buildbot.source import SPEC

__all__ = ["SPEC"]
