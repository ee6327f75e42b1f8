"""Prometheus 2.x and 3.x (tested with 2.42), and what speaks its HTTP API: Thanos, Mimir, VictoriaMetrics.

Documentation: https://prometheus.io/docs/prometheus/latest/querying/api/ · set-up: docs/metrics/prometheus.md. Queries
are sent as forms by POST; basic or bearer authentication; there are no rate limits. An answer of 200 may hold nothing,
"NaN" or warnings; errors are 400, 422 or 503 with a JSON body, anything else comes from what stands before it.
"""

from integrations.prometheus.source import SPEC

__all__ = ["SPEC"]
