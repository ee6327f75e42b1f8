"""Every integration, a line each."""

from __future__ import annotations

from integrations import azure_boards, buildbot, datadog, dingtalk, generic, jira, prometheus, slack
from integrations.spec import MetricSpec, PlatformSpec, SourceSpec, TrackerSpec

PLATFORMS: dict[str, PlatformSpec] = {spec.kind: spec for spec in (slack.SPEC, dingtalk.SPEC)}
SOURCES: dict[str, SourceSpec] = {spec.kind: spec for spec in (buildbot.SPEC, generic.SPEC)}
TRACKERS: dict[str, TrackerSpec] = {spec.kind: spec for spec in (jira.SPEC, azure_boards.SPEC)}
METRICS: dict[str, MetricSpec] = {spec.kind: spec for spec in (prometheus.SPEC, datadog.SPEC)}
