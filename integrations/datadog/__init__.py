"""Datadog: metrics (API v1 and v2) and the state of monitors.

Documentation: https://docs.datadoghq.com/api/latest/metrics/ · set-up: docs/metrics/datadog.md. Every call carries an
API key and an application key. 429 says in X-RateLimit-Reset how many seconds to wait; an answer of 200 may hold an
error, and values that are null.
"""

from integrations.datadog.source import SPEC

__all__ = ["SPEC"]
