"""What `shipmate check` reads back of deployments and people, and what it doubts, without asking anybody."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.settings import deployed_of, load
from bot.understood import understood
from integrations.outside import connect_outside
from tests.fakes import FakeClock

CONFIG = """
platforms: {slack: {bot_token: "${TOKEN}", app_token: "${TOKEN}"}}
destinations: {ci: {slack: "#ci"}}
sources: {buildbot: {kind: buildbot}}
routes:
  - {match: {kind: deployment, environment: [production, "stag*"], project: shop}, to: ci}
environments:
  staging: {confirm: false}
  production:
    after: staging
    approvals: {needed: 2, from: [release], expires_in: 8h}
    windows: [{from: "09:00", to: "17:00", timezone: Europe/Berlin}]
    freezes: [{from: 2026-12-24, to: 2027-01-02, reason: holidays}]
    break_glass: release
services:
  shop:
    builds: {source: buildbot, branch: main, project: shop}
    deploy: {source: buildbot, project: "deploy-{{service}}"}
    environments: {staging: {checks: []}, production: {}}
    checks: {health: {kind: http, url: "http://shop.example.com/health"}}
roles:
  release: {members: ["slack:U1", "slack:U2"], can: [approve, lock]}
  trains: {members: ["api:release-train"], can: deploy, on: {project: "sh*", environment: staging}}
api: {release-train: {secrets: "${TOKEN}"}}
"""
PROJECTS = {"buildbot": ("shop", "deploy-shop")}


def _lines(folder: Path, config: str = CONFIG, projects: dict[str, tuple[str, ...]] | None = None) -> list[str]:
    path = folder / "shipmate.yaml"
    path.write_text(config, encoding="utf-8")
    settings = load(path, {"TOKEN": "a-token-that-is-long-enough"})
    return [str(one) for one in understood(settings, PROJECTS if projects is None else projects, ["slack", "dingtalk"])]


def test_every_rule_is_read_back(tmp_path: Path) -> None:
    """A line for each environment, service, role and client of the API: whoever reads them sees what is missing."""
    assert _lines(tmp_path) == [
        "ok environments.staging: not confirmed; no approvals; open at any time",
        (
            "ok environments.production: after staging; confirmed by who asks; 2 approvals of release within 8h; "
            "open mon-fri 09:00-17:00 Europe/Berlin; frozen from 2026-12-24 to 2027-01-02 (holidays); "
            "break-glass by release"
        ),
        (
            "ok services.shop: builds of buildbot/shop, the latest of main; versions are builds; "
            "staging by buildbot/deploy-{{service}} "
            "(no checks); production by buildbot/deploy-{{service}} (2 of release, checks health, rolled back when "
            "they fail)"
        ),
        "ok roles.release: 2 members; may approve, lock; on every project",
        "ok roles.trains: 1 member; may deploy; on projects sh*, environments staging",
        "ok api.release-train: may what trains may",
    ]


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ("project: shop}\n", "project: shpo}\n", "!! services.shop.builds.project: 'shpo' is none of sources.buildbot"),
        ("deploy-{{service}}", "ship-{{service}}", "!! services.shop.deploy.project: 'ship-shop' is none of"),
        ("needed: 2", "needed: 3", "?? environments.production.approvals.needed: 3 of release, with 2 in all"),
        ("[production,", "[prodction,", "?? routes[0].match.environment[0]: 'prodction' fits no environment: did you"),
        ('"stag*"]', '"test*"]', "?? routes[0].match.environment[1]: 'test*' fits no environment: there are"),
        (", project: shop}, to", ", project: shpo}, to", "?? routes[0].match.project[0]: 'shpo' fits no project: did"),
        ("kind: deployment", "kind: alert", "?? routes[0].match.kind: nothing tells of alert yet, only of build and"),
        (
            "project: shop}, to: ci",
            'project: shop}, to: ci, critical: true, quiet_hours: {from: "22:00", to: "08:00", except: []}',
            "?? routes[0].critical: the quiet hours of ci except nothing",
        ),
        ("environment: staging}}", "environment: stagin}}", "?? roles.trains.on.environment[0]: 'stagin' fits no"),
        ('project: "sh*"', 'project: "parcl-*"', "?? roles.trains.on.project[0]: 'parcl-*' fits no project"),
        ('"api:release-train"', '"api:release-trane"', "?? roles.trains.members[0]: 'release-trane' is no client"),
        ('"api:release-train"', '"slack:U3"', "?? api.release-train: no role names api:release-train"),
        (
            "can: [approve, lock]}",
            'can: [approve, lock], on: {project: "!shop"}}',
            "?? services.shop.environments.production: 2 of release, with 0 whose role covers it: nothing can be",
        ),
        (
            "can: [approve, lock]}",
            "can: [approve, lock], on: {environment: staging}}",
            "?? services.shop.environments.production: break-glass by release, and no such role covers it: nobody may",
        ),
        ('"slack:U1", ', '"irc:ada", ', "?? roles.release.members[0]: irc is no platform"),
        ('"slack:U1", ', '"dingtalk:ada", ', "?? roles.release.members[0]: dingtalk is not configured"),
    ],
)
def test_what_can_come_to_nothing_is_said(tmp_path: Path, written: str, instead: str, said: str) -> None:
    """A name that nothing has, and a number that nobody can reach, each at its place."""
    assert written in CONFIG
    lines = _lines(tmp_path, CONFIG.replace(written, instead, 1))
    assert [line for line in lines if line.startswith(said)], lines


TRACKED = """
trackers:
  jira:
    {kind: jira, url: "http://127.0.0.1:9", poll: 1m, auth: {method: bearer, token: "${TOKEN}"}, triggers: [
      {status: Done, service: shop, environment: production, approvals: 3}]}
"""


@pytest.mark.parametrize(("on", "has_too_few"), [("", False), (", on: {project: parcel}", True)])
def test_a_triggers_approvals_are_of_those_whose_role_covers_it(tmp_path: Path, on: str, *, has_too_few: bool) -> None:
    """It asks for more than its environment does, and one of the three approves for other services."""
    more = f'\n  parcels: {{members: "slack:U3", can: approve{on}}}\napi:'
    config = CONFIG.replace("from: [release]", "from: [release, parcels]").replace("\napi:", more)
    said = [line for line in _lines(tmp_path, config + TRACKED, {}) if line.startswith("??")]
    words = "3 of release and parcels, with 2 whose role covers it: nothing can be approved"
    assert said == ([f"?? trackers.jira.triggers[0].approvals: {words}"] if has_too_few else [])


def test_what_cannot_be_known_is_not_doubted(tmp_path: Path) -> None:
    """A source that names no projects takes what comes, and a project that hangs on the version is not known yet."""
    strange = CONFIG.replace("project: shop}, to", "project: payments}, to").replace("{{service}}", "{{version}}")
    assert not [line for line in _lines(tmp_path, strange, {"buildbot": ()}) if not line.startswith("ok")]
    told = [line for line in _lines(tmp_path, strange) if not line.startswith("ok")]
    assert [line.partition(": ")[0] for line in told] == ["?? routes[0].match.project[0]"]


def test_the_example_of_a_service_from_nothing_is_whole(tmp_path: Path) -> None:
    """Copied from the page it is accepted by every integration, nothing of it is doubted, and it is read as shown."""
    page = (Path(__file__).parent.parent / "docs" / "deployments.md").read_text(encoding="utf-8")
    section = page.partition("## A service from nothing")[2]
    found = dict(re.findall(r"^```(yaml|text|python)\n(.*?)^```", section, re.DOTALL | re.M))
    path = tmp_path / "shipmate.yaml"
    path.write_text(found["yaml"], encoding="utf-8")
    own = dict.fromkeys(re.findall(r"\$\{(\w+)\}", found["yaml"]), "a-long-enough-secret")
    settings = load(path, {**own, "SLACK_BOT_TOKEN": "xoxb-documented", "SLACK_APP_TOKEN": "xapp-documented"})
    outside = connect_outside(settings, FakeClock())
    projects = {name: source.projects for name, source in outside.sources.items()}
    lines = [str(one) for one in understood(settings, projects, ["slack", "dingtalk"])]
    assert [line for line in lines if not line.startswith("ok ")] == []
    assert set(found["text"].splitlines()) <= set(lines)
    parcel = deployed_of(settings)["parcel"]
    assert all(f'name="{name}"' in found["python"] for name in parcel.targets["staging"].deploy.parameters)
