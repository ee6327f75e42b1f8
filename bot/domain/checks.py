"""Post-deploy checks: what is measured, and the verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """How far a check has come."""

    name: str

    def to_json(self) -> dict[str, Any]:
        """JSON values for the database."""
        return {"name": self.name}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`."""
        return cls(stored["name"])
