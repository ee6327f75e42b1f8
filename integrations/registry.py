"""Every integration, a line each."""

from __future__ import annotations

from integrations import buildbot, dingtalk, generic, jira, slack
from integrations.spec import PlatformSpec, SourceSpec, TrackerSpec

PLATFORMS: dict[str, PlatformSpec] = {spec.kind: spec for spec in (slack.SPEC, dingtalk.SPEC)}
SOURCES: dict[str, SourceSpec] = {spec.kind: spec for spec in (buildbot.SPEC, generic.SPEC)}
TRACKERS: dict[str, TrackerSpec] = {spec.kind: spec for spec in (jira.SPEC,)}
