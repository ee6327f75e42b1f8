"""Any sequence of lines, clicks, crashes, failures and time: never two at once, never a start without its approvals."""

from __future__ import annotations

from hypothesis import settings

from tests.services.deployment_machine import DeploymentMachine

TestDeploying = DeploymentMachine.TestCase
TestDeploying.settings = settings(max_examples=8, stateful_step_count=25, deadline=None)
