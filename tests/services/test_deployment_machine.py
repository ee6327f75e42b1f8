"""Any sequence of lines, clicks, crashes, failures and time: never two at once, never a start without its approvals."""

from __future__ import annotations

import re

from hypothesis import settings
from hypothesis.stateful import rule

from tests.services.deployment_machine import PEOPLE, DeploymentMachine


class Deploying(DeploymentMachine):
    """The same world, in which people have several accounts."""

    @rule(one=PEOPLE, other=PEOPLE)
    def link(self, one: str, other: str) -> None:
        """Somebody joins two accounts, or tries to."""
        code = re.search(r"(?:link|绑定) (\S+)", self.stage.ask("link", one))
        assert code
        self.stage.ask(f"link {code[1]}", other)

    @rule(person=PEOPLE)
    def unlink(self, person: str) -> None:
        """An account is parted from the person's others."""
        self.stage.ask("unlink", person)


TestDeploying = Deploying.TestCase
TestDeploying.settings = settings(max_examples=8, stateful_step_count=25, deadline=None)
