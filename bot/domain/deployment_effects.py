"""What a deployment did to its environment, as far as it tells itself."""

from __future__ import annotations

from bot.domain.deployments import Deployment


def has_changed(deployment: Deployment) -> bool:
    """Whether it is known to have begun to change anything: its system took the order, and began the run."""
    return bool(deployment.run and deployment.run.request)
