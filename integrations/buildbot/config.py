"""What the configuration says of one Buildbot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

SYSTEM = "buildbot"
PROJECT_NAME = re.compile(r"[^\s\x00-\x1f#/:@\ud800-\udfff]{1,100}")


class Project(BaseModel):
    """One project: the builder that builds it, and how a person's `run` starts it.

    `parameters` are sent to the force scheduler with every run, below those that the person gives.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    builder: str = Field(min_length=1, max_length=250)
    force_scheduler: str = Field(default="force", min_length=1, max_length=50)
    parameters: Mapping[str, str] = Field(default_factory=dict)


class Config(BaseModel):
    """The source's section.

    `url` is where the API answers. Without `user` and `password` builds can be read, and changed only where Buildbot
    lets anybody. `webhook_token` is what Buildbot sends in the header `X-Bot-Token`. Without `projects` each builder
    is a project of its own name; with them, other builders are ignored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["buildbot"] = "buildbot"
    url: str
    user: str | None = Field(default=None, min_length=1)
    password: SecretStr | None = Field(default=None, min_length=1)
    webhook_token: SecretStr = Field(min_length=8)
    projects: Mapping[str, Project] = Field(default_factory=dict)

    @field_validator("url")
    @classmethod
    def _is_base_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an http or https address such as https://buildbot.example.com")
        if parts.username or parts.password:
            raise ValueError("must not hold credentials: set user and password")
        return value.rstrip("/")

    @field_validator("projects")
    @classmethod
    def _has_writable_names(cls, projects: Mapping[str, Project]) -> Mapping[str, Project]:
        for name in projects:
            if not PROJECT_NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be typed as a project: 1 to 100 characters without space # / : @")
        builders = [project.builder for project in projects.values()]
        if twice := {builder for builder in builders if builders.count(builder) > 1}:
            raise ValueError(f"one builder cannot be two projects: {', '.join(sorted(twice))}")
        return projects

    @model_validator(mode="after")
    def _has_whole_credentials(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        return self

    def project_of(self, builder: str) -> str | None:
        """The project that a builder builds; None when it is nobody's here."""
        if not self.projects:
            return builder if PROJECT_NAME.fullmatch(builder) else None
        return next((name for name, project in self.projects.items() if project.builder == builder), None)

    def project(self, name: str) -> Project | None:
        """How a project is configured; None when it is not one."""
        if not self.projects:
            return Project(builder=name) if PROJECT_NAME.fullmatch(name) else None
        return self.projects.get(name)
