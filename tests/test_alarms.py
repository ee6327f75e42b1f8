"""The alarms that operations.md proposes, in the words of Prometheus and over what Shipmate tells it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bot.errors import SignatureInvalid, StorageUnavailable
from bot.services import dead_letters
from bot.services.dead_letters import DeadLetter
from bot.services.reconciling import Reconciling
from bot.services.sources import SourceAccess, Sources
from bot.telemetry import CONNECTED, RECONCILED, UNRECORDED
from handlers.web import create_app
from handlers.webhooks import Sender, webhooks
from tests.fakes import FakeClock
from tests.needs import prometheus as programs

OPERATIONS = Path(__file__).parent.parent / "docs" / "operations.md"
ALARM = re.compile(r"^\| `([^`]*shipmate_[^`]+)`", re.M)
SOURCE, HISTORY, PLATFORM = "alarmed-door", "alarmed-history", "alarmed"  # whose figures no other test touches


def alarms() -> list[str]:
    """What the page proposes."""
    found = ALARM.findall(OPERATIONS.read_text("utf-8").partition("Worth an alarm")[2].partition("\n## ")[0])
    assert len(found) == 6
    return found


def told() -> dict[str, float]:
    """The series of this test's own, as a scrape finds them."""
    found = {}
    for family in text_string_to_metric_families(generate_latest(REGISTRY).decode()):
        for sample in family.samples:
            if {SOURCE, HISTORY, PLATFORM} & set(sample.labels.values()) or sample.name == "shipmate_unrecorded":
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def judge(before: Mapping[str, float], after: Mapping[str, float], found: Sequence[Any], tmp_path: Path) -> None:
    """Each alarm finds so much three minutes after the one scrape became the other."""
    series = [
        {"series": name, "values": f"{before.get(name, '_')}x8 {value}x40"}  # with a quarter of a minute between
        for name, value in after.items()
    ]
    expected = [
        {"expr": f"count({alarm}) > bool 0", "eval_time": "5m", "exp_samples": list(found)} for alarm in alarms()
    ]
    test = {"interval": "15s", "input_series": series, "promql_expr_test": expected}
    path = tmp_path / "alarms.yml"
    path.write_text(json.dumps({"evaluation_interval": "15s", "tests": [test]}), encoding="utf-8")
    judged = subprocess.run([programs()[1], "test", "rules", path], capture_output=True, check=False, text=True)
    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.prometheus
def test_each_alarm_is_raised_by_the_first_of_what_it_is_for(tmp_path: Path) -> None:
    """Nothing of the kind had happened since the process began; counters tell of the first one all the same."""
    refusing, storeless = Mock(side_effect=SignatureInvalid("unsigned")), Mock(side_effect=StorageUnavailable("gone"))
    sender = Sender(refusing, storeless)
    client = create_app([webhooks({SOURCE: sender}, FakeClock())], lambda: None).test_client()
    dead_letters.expect([PLATFORM])
    Reconciling(Mock(), FakeClock(), Sources({HISTORY: SourceAccess(history=Mock())}, ()), Mock())
    CONNECTED.labels(PLATFORM).set(1)
    UNRECORDED.set(0)
    before = told()
    judge(before, before, [], tmp_path)
    for _ in range(6):
        client.post(f"/webhooks/{SOURCE}")
    refusing.side_effect, refusing.return_value = None, (["an event"], "")
    client.post(f"/webhooks/{SOURCE}")
    dead_letters.record([DeadLetter(Mock(destination=f"{PLATFORM}:T1/C1"), "#ci", "not_in_channel")])
    RECONCILED.labels(HISTORY).inc(4)
    CONNECTED.labels(PLATFORM).set(0)
    UNRECORDED.set(1)
    after = told()
    UNRECORDED.set(0)
    CONNECTED.remove(PLATFORM)
    judge(before, after, [{"labels": "{}", "value": 1}], tmp_path)
