"""`shipmate check` doubts a number of failed checks that can never be reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.checking import check_all
from bot.settings import load

FILE = """
sources: {{nightly: {{kind: buildbot, url: "http://127.0.0.1:9", webhook_token: '${{NIGHTLY_SECRET}}'}}}}
environments: {{production: {{}}}}
services:
  shop:
    versions: any
    deploy: {{source: nightly, project: deploy, parameters: {{version: "{{{{version}}}}"}}}}
    checks:
      health: {{kind: http, url: "http://shop.internal/"}}
      port: {{kind: tcp, host: shop.internal, port: 80, on: {on}}}
    rollback: {{max_failures: {most}}}
    environments: {{production: {{}}}}
"""
ALERTS = "{failed: alert, no_data: alert, error: alert}"
ROLLS_BACK = "{failed: rollback}"


@pytest.mark.parametrize(
    ("most", "on", "is_doubted"), [(1, ALERTS, False), (2, ALERTS, True), (2, ROLLS_BACK, False), (3, ROLLS_BACK, True)]
)
def test_failures_that_never_come(tmp_path: Path, most: int, on: str, is_doubted: bool) -> None:
    """So many checks would have to fail as there are none whose failure leads to a rollback."""
    path = tmp_path / "shipmate.yaml"
    path.write_text(FILE.format(most=most, on=on), encoding="utf-8")
    found = [str(one) for one in check_all(load(path, {"NIGHTLY_SECRET": "a-secret-of-the-nightly-builds-0123"}))]
    doubt = f"?? services.shop.environments.production.rollback: max_failures is {most}"
    assert any(line.startswith(doubt) for line in found) is is_doubted
