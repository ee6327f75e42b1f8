"""Jira Cloud (REST v3) and Data Center (REST v2): issues read, moved, commented and linked; webhooks and polls in.

Documentation: https://developer.atlassian.com/cloud/jira/platform/rest/v3/ · set-up: docs/platforms/jira.md. Webhooks
are signed; calls are authorised by basic or bearer tokens or OAuth 2.0. A 429 says how long to wait in Retry-After.
"""

from integrations.jira.tracker import SPEC

__all__ = ["SPEC"]
