"""shipmate.yaml: each good file is read, each bad file is refused with the sentence in its first line."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from bot.domain.noise import QuietHours, Threshold
from bot.domain.routing import Milestone, Updates
from bot.domain.services import ApprovalRule, WhenBusy
from bot.domain.windows import Freeze, Window
from bot.errors import ConfigError
from bot.settings import deployed_of, load, roles_of, routes_of
from bot.telemetry import redact
from bot.tracker_settings import people_of
from integrations.outside import connect_outside, wrong_sections
from tests.fakes import FakeClock

HERE = Path(__file__).parent / "config"
ENVIRONMENT = {
    "SLACK_BOT_TOKEN": "xoxb-1-a-secret-bot-token",
    "SLACK_APP_TOKEN": "xapp-1-a-secret-app-token",
    "NIGHTLY_SECRET": "nightly-secret-of-32-characters",
    "SHORT_SECRET": "short-one",
    "DINGTALK_SECRET": "a-secret-of-dingtalk",
    "DINGTALK_TOKEN": "a-token-of-dingtalk",
    "SHIPMATE_KEY": Fernet.generate_key().decode(),
}
GOOD = sorted(path.name for path in HERE.glob("good.*.yml"))
BAD = sorted(path.name for path in HERE.glob("bad.*.yml"))


def _write(folder: Path, text: str) -> Path:
    path = folder / "shipmate.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_is_read(name: str) -> None:
    """The whole file is accepted, by the frame and by every integration it names."""
    settings = load(HERE / name, ENVIRONMENT)
    outside = connect_outside(settings, FakeClock())
    assert set(outside.destinations) == set(settings.destinations)
    assert set(outside.sources) == set(settings.sources)
    assert set(outside.metrics) == set(settings.metrics)
    assert set(outside.trackers) == set(settings.trackers)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_naming_the_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says which setting is wrong and why, and gives away no secret."""
    monkeypatch.chdir(HERE)
    first_line = Path(name).read_text(encoding="utf-8").partition("\n")[0]
    with pytest.raises(ConfigError) as caught:
        connect_outside(load(Path(name), ENVIRONMENT), FakeClock())
    assert f"# {caught.value}" == first_line
    for value in (*ENVIRONMENT.values(), "clear"):
        assert value not in str(caught.value)


def test_every_setting_reaches_its_place() -> None:
    """What the fullest file says is what the routes, roles and places are."""
    settings = load(HERE / "good.everything.yml", ENVIRONMENT)
    first, second = routes_of(settings)
    assert first.name == "routes[0]"
    assert first.to == ("ci", "研发群")
    assert first.when == {Milestone.FAILED, Milestone.FIXED}
    assert first.match.project == ("user-*", "!user-legacy")
    assert (first.thread_log, first.updates) == (True, Updates.ALL)
    assert (first.group, first.flapping) == (Threshold(5, 60.0), Threshold(4, 3600.0))
    assert (first.critical, first.progress_interval_s) == (True, 10.0)
    assert first.quiet_hours == QuietHours(time(23, 30), time(6), spares_critical=False)
    assert second.when == {Milestone.STARTED, Milestone.FINISHED}
    (role,) = roles_of(settings)
    assert role.members == {"slack:U024BE7LH", "dingtalk:manager4220", "ada@example.com"}
    destinations = connect_outside(settings, FakeClock()).destinations
    assert destinations["研发群"].timezone == "Asia/Shanghai"
    assert destinations["ops"].locale == "zh-CN"
    assert destinations["by-id"].address == "slack:C0G9QF9GZ"
    assert destinations["by-id"].quiet_hours == QuietHours(time(22), time(8))
    assert destinations["by-id"].progress_interval_s == 30.0


@pytest.mark.parametrize(
    ("written", "spares_critical"),
    [("", True), (", except: [critical]", True), (", except: critical", True), (", except: []", False)],
)
def test_quiet_hours_spare_what_is_critical_unless_they_say_otherwise(
    written: str, spares_critical: bool, tmp_path: Path
) -> None:
    """Whoever wants to hold everything writes so; what is left out holds nobody's alarm until the morning."""
    hours = f'{{from: "22:00", to: "08:00"{written}}}'
    config = (
        "platforms: {slack: {bot_token: '${SLACK_BOT_TOKEN}', app_token: '${SLACK_APP_TOKEN}'}}\n"
        f'destinations: {{ci: {{slack: "#ci", quiet_hours: {hours}}}}}\n'
        f"routes: [{{to: ci, quiet_hours: {hours}}}]\n"
    )
    settings = load(_write(tmp_path, config), ENVIRONMENT)
    expected = QuietHours(time(22), time(8), spares_critical)
    assert routes_of(settings)[0].quiet_hours == expected
    assert connect_outside(settings, FakeClock()).destinations["ci"].quiet_hours == expected


def test_who_moves_issues_is_known_as_the_trail_names_them() -> None:
    """An account may be written with its kind or without, and in any case."""
    known = people_of(load(HERE / "good.trackers.yml", ENVIRONMENT).trackers)
    assert known["jira"] == {"jira:5b10ac8d82e05b22cc7d4ef5": "slack:U1", "jira:712020:0f1e": "Ada@example.com"}
    assert known["boards"] == {}


def test_what_a_service_says_of_an_environment_goes_before_what_holds_for_all() -> None:
    """The pipeline, the checks, the approvals and the rollback of a service's own replace those of everybody."""
    services = deployed_of(load(HERE / "good.deployments.yml", ENVIRONMENT))
    test, staging, production = services["user-service"].targets.values()
    assert [check.name for check in test.checks] == []
    assert [check.name for check in staging.checks] == ["health"]
    assert [check.name for check in production.checks] == ["health", "port"]
    assert (test.needs_confirmation, test.approvals.needed, test.rollback.is_enabled) == (False, 0, False)
    assert (staging.after, staging.rollback.max_failures) == ("test", 2)
    assert (staging.deploy.project, production.deploy.project) == ("deploy", "deploy-production")
    assert production.approvals == ApprovalRule(1, ("release",), 4 * 3600.0)
    assert production.rollback.pipeline is not None
    assert (production.when_busy, production.timeout_s) == (WhenBusy.SUPERSEDE, 1200.0)
    site = services["site"].targets["production"]
    assert (production.after, site.after) == ("staging", "")
    assert site.approvals == ApprovalRule(2, ("release", "sre"), 8 * 3600.0)
    assert (site.break_glass, site.rollback.max_failures) == (("sre",), 1)
    assert site.windows[0] == Window(frozenset(range(5)), time(9), time(17, 30), "Europe/Berlin")
    assert site.freezes == (Freeze(date(2026, 12, 24), date(2027, 1, 2), "holidays", "Asia/Shanghai"),)


def test_words_that_yaml_takes_for_booleans_stay_words() -> None:
    """`on` is a setting's name, `no` may be a project."""
    settings = load(HERE / "good.on-and-no-are-words.yml", ENVIRONMENT)
    assert settings.routes[0].match.project == ("no",)
    assert settings.routes[0].match.branch == ("on", "off", "yes")
    assert settings.routes[0].thread_log is True
    assert settings.roles["keeper"].on.project == ("no",)


def test_relative_paths_start_where_the_file_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is the same one from whatever folder the command is started in."""
    folder = tmp_path / "etc"
    folder.mkdir()
    path = _write(folder, "database_url: sqlite:///state/here.db\n")
    monkeypatch.chdir(tmp_path)
    assert load(path).database == f"sqlite:///{folder}/state/here.db"
    assert load(_write(folder, "log: {level: INFO}\n")).database == f"sqlite:///{folder}/var/shipmate.db"


def test_secrets_that_were_read_are_masked_from_then_on() -> None:
    """A token, a secret from a file, and one that is part of an address are shown nowhere."""
    connect_outside(load(HERE / "good.everything.yml", ENVIRONMENT), FakeClock())
    said = f"{ENVIRONMENT['SLACK_BOT_TOKEN']} a-signing-secret-from-a-file {ENVIRONMENT['DINGTALK_TOKEN']}"
    assert redact(said).replace("[redacted]", "").strip() == ""


def test_settings_printed_show_no_secret() -> None:
    """The representation of the settings, as a traceback would show it, names no key."""
    shown = repr(load(HERE / "good.everything.yml", ENVIRONMENT))
    assert ENVIRONMENT["SHIPMATE_KEY"] not in shown
    assert ENVIRONMENT["SLACK_BOT_TOKEN"] not in shown


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must hold a mapping"),
        (b"\xff\xfe\xff", "is not valid YAML"),
        (b"[" * 5000, "is not valid YAML"),
        (b"a: !!python/object/apply:os.system [true]", "is not valid YAML"),
        (b"# " + b"x" * 1024 * 1024, "is larger than 1 MiB"),
    ],
    ids=["empty", "not-text", "endless", "code", "huge"],
)
def test_a_file_that_is_no_configuration_is_refused_whole(tmp_path: Path, content: bytes, words: str) -> None:
    """Whatever the file holds, the answer is one sentence with the file's name."""
    path = tmp_path / "shipmate.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        load(path, {})
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The path that was looked for is in the sentence."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml cannot be read: No such file"):
        load(tmp_path / "nowhere.yaml", {})


MANY = """
platforms:
  slack: {bot_token: "${NOT_SET}", app_token: "${NOT_SET_EITHER}", comand: /ship}
destinations:
  ci: {slack: "#ci"}
sources:
  ci: {kind: generic, secrets: "${NOT_SET}"}
  other: {kind: jenkins}
routes:
  - {to: [cii]}
environments:
  staging: {after: moon, break_glass: [nobody]}
"""


def _slips(path: Path) -> set[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, {}, further=lambda settings: wrong_sections(settings, FakeClock()))
    return {where for where, _ in caught.value.each()}


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """Variables that are not set, names that lead nowhere, and what an integration does not know."""
    assert _slips(_write(tmp_path, MANY)) == {
        *("platforms.slack.bot_token", "platforms.slack.app_token", "platforms.slack.comand"),
        *("sources.ci.secrets", "sources.other.kind", "routes[0].to[0]"),
        *("environments.staging.after", "environments.staging.break_glass"),
    }


def test_a_section_of_the_wrong_shape_hides_nothing_of_the_others(tmp_path: Path) -> None:
    """Nor does it have others complain that it is not there."""
    text = MANY.replace("  - {to: [cii]}", "  - {to: [cii], wen: [failed]}")
    assert _slips(_write(tmp_path, text)) == {
        *("platforms.slack.bot_token", "platforms.slack.app_token", "platforms.slack.comand"),
        *("sources.ci.secrets", "sources.other.kind", "routes[0].wen"),
    }
