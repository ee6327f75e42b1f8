"""Every integration, a line each."""

from __future__ import annotations

from integrations import buildbot, dingtalk, generic, slack
from integrations.spec import PlatformSpec, SourceSpec

PLATFORMS: dict[str, PlatformSpec] = {spec.kind: spec for spec in (slack.SPEC, dingtalk.SPEC)}
SOURCES: dict[str, SourceSpec] = {spec.kind: spec for spec in (buildbot.SPEC, generic.SPEC)}
