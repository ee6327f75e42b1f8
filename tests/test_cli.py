"""The commands that look and say: routes, preview, check, db upgrade."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.fernet import Fernet

from bot.cli import cli
from bot.services.presenters.examples import EXAMPLES
from playground import world
from playground.options import Options
from playground.server import Playground
from tests.answering import Answer, Answering, Asked
from tests.jira_server import TOKEN, FakeJira

CONFIG = """
platforms:
  slack: {bot_token: "${SLACK_BOT_TOKEN}", app_token: "${SLACK_APP_TOKEN}", api_url: "http://127.0.0.1:9/"}
destinations:
  ci: {slack: "#ci"}
  ci-again: {slack: "#ci", timezone: Europe/Berlin}
  研发: {dingtalk: {robot: {webhook_url: "${ROBOT_URL}"}}, locale: zh-CN, timezone: Asia/Shanghai}
sources:
  nightly: {kind: generic, secrets: "${NIGHTLY_SECRET}"}
routes:
  - {match: {project: "user-*", branch: [main, "release/*"]}, to: [ci, 研发], thread_log: true, mention: ["slack:U1"]}
  - {match: {branch: dev}, to: ci}
  - {to: 研发, when: fixed, updates: all}
"""
ENVIRONMENT = {
    "SLACK_BOT_TOKEN": "xoxb-not-a-real-token",
    "SLACK_APP_TOKEN": "xapp-not-a-real-token",
    "ROBOT_URL": "https://oapi.dingtalk.com/robot/send?access_token=not-real",
    "NIGHTLY_SECRET": "nightly-secret-of-32-characters",
}
FAILED = {"event": "build.finished", "project": "user-service", "number": 42, "status": "failed", "branch": "main"}

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in a folder of its own that holds CONFIG, or another configuration."""
    monkeypatch.chdir(tmp_path)
    Path("shipmate.yaml").write_text(CONFIG, encoding="utf-8")

    def run_one(*words: str, config: str = "", given: str | None = None, **environment: str) -> Result:
        if config:
            Path("shipmate.yaml").write_text(config, encoding="utf-8")
        return CliRunner(env={**ENVIRONMENT, **environment}).invoke(cli, words, input=given)

    return run_one


def _judge(run: Run, *words: str, **build: Any) -> list[str]:
    result = run("routes", *words, "-", given=json.dumps(FAILED | build))
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_routes_says_for_each_route_what_it_does(run: Run) -> None:
    """Match, reason, destinations with their ways, and one line of what is sent where."""
    assert _judge(run, author="陈伟", log_excerpt="E   assert 500 == 401") == [
        "build:nightly/user-service#42: kind build, project user-service, branch main, status failed, author 陈伟",
        "reached: failed, finished, started",
        "",
        "routes[0]: matches, routed",
        "  → ci (locale en, time zone UTC, mentions slack:U1, log in the thread)",
        "  → 研发 (locale zh-CN, time zone Asia/Shanghai, mentions slack:U1, log in the thread)",
        "routes[1]: does not match, filtered:branch",
        "  branch would have to match dev",
        "routes[2]: matches, waiting:fixed",
        "  opens a card once it has fixed",
        "  · 研发 (locale zh-CN, time zone Asia/Shanghai, every update)",
        "",
        "sent: ci/ci-again: card, notice, log; 研发: card, notice, log",
    ]


def test_routes_says_what_holds_a_card_back(run: Run) -> None:
    """Digests, quiet hours, flapping and the pace of progress stand beside the place they are for."""
    config = CONFIG.partition("routes:")[0].replace(
        'ci: {slack: "#ci"}', 'ci: {slack: "#ci", quiet_hours: {from: "22:00", to: "08:00"}}'
    )
    wishes = "group: {more_than: 5, per: 1m}, flapping: {more_than: 4, per: 90m}, progress_interval_s: 10"
    config += f"routes:\n  - {{to: [ci, 研发], {wishes}}}\n  - {{to: ci, critical: true}}\n"
    output = run("routes", "-", config=config, given=json.dumps(FAILED)).output
    kept = "a digest for more than 5 cards in 1 min"
    calm = "few notices for more than 4 changes in 90 min, progress every 10 s"
    assert f"→ ci (locale en, time zone UTC, {kept}, quiet 22:00-08:00, {calm})" in output
    assert f"→ 研发 (locale zh-CN, time zone Asia/Shanghai, {kept}, {calm})" in output
    assert "→ ci (locale en, time zone UTC, quiet 22:00-08:00, but critical: never held)" in output


def test_routes_says_when_nothing_is_sent(run: Run) -> None:
    """An event that no route wants ends in a line that says so."""
    lines = _judge(run, project="payments", branch="trial")
    assert "routes[0]: does not match, filtered:project" in lines
    assert lines[-1] == "sent: nothing for payments#42"


def test_routes_judges_a_success_as_a_repair_when_asked(run: Run) -> None:
    """Without a database nothing is known of the run before; the option says how it ended."""
    assert "routes[2]: matches, waiting:fixed" in _judge(run, status="success", branch="trial")
    lines = _judge(run, "--after-failure", status="success", branch="trial")
    assert "routes[2]: matches, routed" in lines
    assert lines[-1] == "sent: 研发: card, notice"


def test_routes_uses_no_network_and_no_database(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is connected to, and no file is made."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr("socket.socket.connect", refuse)
    _judge(run)
    assert [path.name for path in Path().iterdir()] == ["shipmate.yaml"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{", "Invalid JSON"),
        ("[]", "Input should be an object"),
        (json.dumps(FAILED | {"status": "red"}), "status: Input should be 'running', 'success'"),
        (json.dumps(FAILED | {"brunch": "main"}), "brunch: Extra inputs are not permitted"),
        (json.dumps(FAILED | {"stages": [{"name": "a", "status": "no"}]}), "stages[0].status: Input should be"),
        (json.dumps({"event": "build.exploded"}), "event: unknown:event, nothing would happen"),
        ('{"event": "build.finished"}', "project: Field required; number: Field required"),
    ],
    ids=["no-json", "list", "status", "unknown-field", "nested", "unknown-event", "missing"],
)
def test_routes_names_the_field_that_is_wrong(run: Run, body: str, words: str) -> None:
    """One line on standard error, exit status 2, no traceback."""
    result = run("routes", "-", given=body)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("shipmate: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_routes_reads_a_file_and_needs_it(run: Run) -> None:
    """A path works like standard input; one that leads nowhere is named."""
    Path("事件.json").write_text(json.dumps(FAILED), encoding="utf-8")
    assert "routed" in run("routes", "事件.json").output
    missing = run("routes", "nowhere.json")
    assert missing.exit_code == 2
    assert "nowhere.json" in missing.stderr


def test_a_wrong_configuration_ends_each_command_with_the_setting(run: Run) -> None:
    """Exit status 1 and one line, whichever command reads the file."""
    for words in (("check",), ("db", "upgrade"), ("routes", "-"), ("run",), ("worker",)):
        result = run(*words, config="server: {listen: nowhere}\n", given="{}")
        assert result.exit_code == 1
        assert result.stderr == "shipmate: server.listen (line 1): must be host:port, such as 127.0.0.1:3000\n"


def test_several_mistakes_are_told_in_one_run(run: Run) -> None:
    """Each in a line of its own with the line of the file, and what to write instead; references before the rest."""
    text = """server:
  listn: "127.0.0.1:3000"
environments:
  staging:
  production:
    approvals: 2
    wndows: []
"""
    result = run("check", config=text)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "shipmate: server.listn (line 2): is no known setting: did you mean listen?",
        (
            "shipmate: environments.staging (line 4): is empty: write {} for a section without settings, or leave the "
            "line out"
        ),
        "shipmate: environments.production.approvals (line 6): must be a section of settings (name: value)",
        "shipmate: environments.production.wndows (line 7): is no known setting: did you mean windows?",
    ]
    unset = "sources:\n  one: {secrets: '${NOT_SET}'}\n  two:\n    secrets: {file: not-there}\n"
    said = run("check", config=unset).stderr.splitlines()
    assert said == [
        "shipmate: sources.one.secrets (line 2): the environment variable NOT_SET is not set",
        (
            "shipmate: sources.two.secrets (line 4): the file not-there, from the configuration's folder on, cannot be "
            "read: No such file or directory"
        ),
        "shipmate: sources.one.kind (line 2): must be one of buildbot, generic",
        "shipmate: sources.two.kind (line 3): must be one of buildbot, generic",
    ]


def test_a_complaint_about_yaml_repeats_no_value(run: Run) -> None:
    """What is wrong and where; a word of the file may be a secret."""
    result = run("check", config="platforms:\n  slack: {bot_token: *xoxb-a-secret}\n")
    assert "is not valid YAML (line 2, column 22): found undefined alias …" in result.stderr
    assert "xoxb" not in result.stderr
    tab = run("check", config="platforms:\n\tslack: {}\n")
    assert "is not valid YAML (line 2, column 1): found character '\\t' that cannot start any token" in tab.stderr


def test_preview_draws_every_example_for_every_platform(run: Run) -> None:
    """All cases in both languages, in each shape that a platform has."""
    output = run("preview").output
    for case in (*EXAMPLES, "digest", "deployment"):
        for shape in ("slack message", "dingtalk card", "dingtalk markdown", "dingtalk robot"):
            for locale in ("en", "zh-CN"):
                assert f"== {shape} · {locale} · {case}\n" in output
    assert "已由" in output
    assert "ProfileTest" in output


def test_preview_gives_exactly_what_the_platform_is_sent(run: Run) -> None:
    """With --json: blocks and attachments for Slack, a body for a robot's webhook for DingTalk."""
    slack = json.loads(run("preview", "--platform", "slack", "--locale", "en", "--case", "failed", "--json").output)
    assert set(slack) == {"text", "blocks", "attachments"}
    assert slack["attachments"][0]["color"] == "#E01E5A"
    dingtalk = run("preview", "--platform", "dingtalk", "--locale", "zh-CN", "--case", "fixed", "--json").output
    decoder, documents = json.JSONDecoder(), []
    while dingtalk.strip():
        document, end = decoder.raw_decode(dingtalk.strip())
        documents.append(document)
        dingtalk = dingtalk.strip()[end:]
    assert [sorted(document) for document in documents] == [
        ["cardData"],
        ["msgKey", "msgParam"],
        ["markdown", "msgtype"],
    ]
    assert "已修复" in documents[2]["markdown"]["title"]


@pytest.mark.parametrize(
    ("option", "words"),
    [("--platform", "slack, dingtalk"), ("--locale", "en, zh-CN"), ("--case", "retried, digest, deployment")],
)
def test_preview_says_what_there_is_to_choose_from(run: Run, option: str, words: str) -> None:
    """A wrong choice is answered with the right ones."""
    result = run("preview", option, "nothing")
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.fixture(scope="module")
def playground() -> Iterator[Playground]:
    """Slack and DingTalk to ask."""
    running = Playground(Options(port=0)).start()
    yield running
    running.stop()


def _at(playground: Playground, destinations: str = '{ci: {slack: "#ci"}}', more: str = "") -> str:
    return f"""
platforms:
  slack:
    bot_token: ${{SLACK_BOT_TOKEN}}
    app_token: ${{SLACK_APP_TOKEN}}
    api_url: {playground.url}/slack/api/
  dingtalk:
    client_id: {world.DINGTALK_CLIENT_ID}
    client_secret: ${{DINGTALK_SECRET}}
    api_url: {playground.url}/dingtalk/api
    oapi_url: {playground.url}/dingtalk/oapi
destinations: {destinations}
{more}"""


TOKENS = {
    "SLACK_BOT_TOKEN": world.SLACK_BOT_TOKEN,
    "SLACK_APP_TOKEN": world.SLACK_APP_TOKEN,
    "DINGTALK_SECRET": world.DINGTALK_CLIENT_SECRET,
}


def test_check_says_that_everything_answers_and_where_things_go(run: Run, playground: Playground) -> None:
    """Accepted credentials, resolved destinations and routes; what is only doubtful fails nothing."""
    members = '["slack:U1", "irc:ada", "slack:U024ALICE01"]'
    more = f"routes: [{{to: ci}}]\nroles: {{dev: {{members: {members}, can: [retyr, cancel]}}}}\n"
    result = run("check", config=_at(playground, more=more), **TOKENS)
    lines = result.output.splitlines()
    assert result.exit_code == 0, result.output
    assert lines[0].startswith("ok platforms.slack: workspace ")
    assert lines[1].startswith("ok platforms.dingtalk: ")
    assert lines[2].startswith("?? platforms.dingtalk.corp_id: is not set")
    assert lines[3].startswith("ok destinations.ci: #ci (slack:")
    assert lines[4:10] == [
        "ok routes[0]: everything → ci when started, finished",
        "?? sources: there are none: no event can come in",
        "ok roles.dev: 3 members; may retyr, cancel; on every project",
        "?? roles.dev.can[0]: 'retyr' grants nothing: did you mean retry?",
        "?? roles.dev.members[1]: irc is no platform",
        "?? roles.dev.members[0]: slack knows nobody of this id, or a guest, a bot or somebody gone: no role counts",
    ]
    assert [line.partition(":")[0] for line in lines[10:]] == ["-- key", "-- database_url"]
    assert [path.name for path in Path().iterdir()] == ["shipmate.yaml"]


def test_check_asks_for_no_route_to_the_admin(run: Run, playground: Playground) -> None:
    """A place that is told of dead letters has its use; one that nothing leads to is worth a look."""
    places, routes = '{ci: {slack: "#ci"}, ops: {slack: "#ci"}}', "routes: [{to: ci}]\n"
    doubt = "?? destinations.ops: no route leads here"
    assert doubt in run("check", config=_at(playground, places, more=routes), **TOKENS).output
    assert doubt not in run("check", config=_at(playground, places, more=f"{routes}admin: ops\n"), **TOKENS).output


SERVICES = """
sources: {nightly: {kind: buildbot, url: "http://127.0.0.1:9", webhook_token: '${NIGHTLY_SECRET}'}}
roles: {release: {members: ada@example.com, can: approve}}
environments: {production: {approvals: {needed: 1, from: release}}}
services:
  shop:
    builds: {source: nightly, project: shop}
    deploy: {source: nightly, project: deploy, parameters: {version: "{{version}}"}}
    environments: {production: {}}
  site:
    versions: any
    deploy: {source: nightly, project: deploy, parameters: {version: "{{version}}"}}
    environments: {production: {}}
  blog:
    builds: {source: nightly, project: blog}
    deploy: {source: nightly, project: deploy, parameters: {version: "{{version}}", commit: "{{commit}}"}}
    environments: {production: {}}
"""


def test_check_says_what_holds_a_deployment_to_what_was_approved(run: Run) -> None:
    """A pipeline that is told no commit, and words that nothing can be held to."""
    lines = run("check", config=SERVICES).output.splitlines()
    told = [line for line in lines if ".deploy: " in line or ".versions: " in line]
    assert [line.partition(": ")[0] for line in told] == ["ok services.shop.deploy", "?? services.site.versions"]
    assert "in a branch's place it is told the commit of its build" in told[0]


def test_check_names_where_nobody_would_hear_of_break_glass(run: Run) -> None:
    """Without a route for deployments there, and without an admin, only the audit trail would know."""
    glass = SERVICES.replace("environments: {production: {", "environments: {production: {break_glass: release, ", 1)
    doubt = "?? services.shop.environments.production: may be deployed by break-glass"
    places = '\nplatforms: {slack: {bot_token: "${SLACK_BOT_TOKEN}", app_token: "${SLACK_APP_TOKEN}"}}'
    places += '\ndestinations: {ci: {slack: "#ci"}}\nroutes: [{match: {environment: %s}, to: ci}]\n'
    assert doubt in run("check", config=glass).output
    assert doubt in run("check", config=glass + places % "staging", **TOKENS).output
    assert doubt not in run("check", config=glass + places % "production", **TOKENS).output
    assert doubt not in run("check", config=glass + places % "staging" + "admin: ci\n", **TOKENS).output


def test_check_looks_at_the_key_and_the_database(run: Run) -> None:
    """Both can be used, or what is wrong with them is said."""
    run("db", "upgrade")
    result = run("check", config="sources: {nightly: {kind: generic, secrets: '${NIGHTLY_SECRET}'}}\n", SHIPMATE_KEY="")
    assert "-- key: there is none yet" in result.output
    assert "ok database_url: " in result.output
    wrong = run("check", SHIPMATE_KEY="no-key-at-all")
    assert "!! SHIPMATE_KEY: is no Fernet key" in wrong.output
    assert wrong.exit_code == 1
    good = run("check", SHIPMATE_KEY=Fernet.generate_key().decode())
    assert "ok key: can be used" in good.output
    Path("var/shipmate.db").write_text("this is no database, but it is long enough to be taken for one")
    broken = run("check")
    assert "!! database_url: " in broken.output
    assert "file is not a database" in broken.output


def test_check_says_what_to_do_about_what_does_not_work(run: Run, playground: Playground) -> None:
    """A refused token, a channel that is none, and one place under two names."""
    places = '{ci: {slack: "#ci"}, gone: {slack: "#no-such-channel"}, again: {slack: "#ci"}}'
    result = run("check", config=_at(playground, places), **TOKENS)
    assert result.exit_code == 1
    assert "!! destinations.gone: slack: channel_not_found" in result.output
    assert "correct destinations.gone, and see that the bot was invited there" in result.output
    assert "?? destinations.again: is the same place as destinations.ci: it gets one card" in result.output
    refused = run("check", config=_at(playground), **TOKENS | {"SLACK_BOT_TOKEN": "xoxb-revoked-token"})
    assert refused.exit_code == 1
    assert "!! platforms.slack: invalid_auth: put" in refused.output
    assert "put a valid credential into platforms.slack" in refused.output
    assert "put a valid credential into destinations." not in refused.output
    assert "xoxb-revoked-token" not in refused.output


def test_check_asks_the_systems_that_measure(run: Run) -> None:
    """What answers queries is told with its version; what does not, with what to do about it."""
    ready = '{"status": "success", "data": {"resultType": "vector", "result": [], "version": "3.1.0"}}'

    def answer(asked: Asked) -> Answer:
        if asked.path.startswith("/elsewhere"):
            return Answer(404, "nothing here")
        return Answer(200 if asked.headers.get("authorization") else 401, ready)

    server = Answering(answer)
    try:
        token = f'{{kind: prometheus, url: "{server.url}", token: "${{NIGHTLY_SECRET}}"}}'
        sections = [f"  good: {token}", f'  refused: {{kind: prometheus, url: "{server.url}"}}']
        sections += [
            f'  elsewhere: {{kind: prometheus, url: "{server.url}/elsewhere"}}',
            "  down: {kind: prometheus, url: http://127.0.0.1:9}",
            "  nowhere: {kind: prometheus, url: http://nowhere.invalid:9090}",
        ]
        result = run("check", config="\n".join(["metrics:", *sections, ""]))
    finally:
        server.close()
    assert result.exit_code == 1
    assert "ok metrics.good: Prometheus 3.1.0, answers queries" in result.output
    assert "!! metrics.refused: prometheus: http_401: put a valid credential into metrics.refused" in result.output
    assert "!! metrics.elsewhere: prometheus: http_404" in result.output
    assert "see whether the address in metrics.elsewhere is right, its path too" in result.output
    assert "!! metrics.down: prometheus: unreachable (127.0.0.1:9: Connection refused): see" in result.output
    assert "!! metrics.nowhere: prometheus: unreachable (nowhere.invalid has no address): see" in result.output


def test_check_refuses_a_query_that_cannot_be_one(run: Run) -> None:
    """In the parser's words, before any system is asked."""
    name = "bad.check-query-of-the-handbook.yml"
    text = (Path(__file__).parent / "config" / name).read_text(encoding="utf-8")
    result = run("check", config=text)
    assert result.exit_code != 0
    assert "services.shop.checks.errors.query (line 14): is no PromQL: expected type matrix" in result.output


TRACKERS = """
sources: {ci: {kind: buildbot, url: "http://127.0.0.1:9", webhook_token: "${NIGHTLY_SECRET}"}}
environments: {staging: {}}
services:
  shop: {deploy: {source: ci, project: go}, versions: any, environments: {staging: {}}}
trackers:
  good:
    kind: jira
    url: ${JIRA}
    projects: USER
    poll: 1m
    auth: {method: basic, user: bot@example.com, token: "${JIRA_TOKEN}"}
    triggers: [{status: Done, services: {USER: shop}, environment: staging, dry_run: true}]
  refused: {kind: jira, url: "${JIRA}", auth: {method: basic, user: nobody@example.com, token: "${NIGHTLY_SECRET}"}}
  rotating:
    kind: jira
    url: ${JIRA}
    auth:
      method: refresh_token
      client_id: app
      client_secret: ${NIGHTLY_SECRET}
      refresh_token: ${REFRESH_TOKEN}
      token_url: ${JIRA}/oauth/token
      gateway_url: ${JIRA}
"""


def test_check_asks_the_trackers(run: Run) -> None:
    """Who we are there, or what to do; triggers are listed; a token that rotates is used where it is stored."""
    with FakeJira() as jira:
        known = {"JIRA": jira.url, "JIRA_TOKEN": TOKEN, "REFRESH_TOKEN": "first-refresh-token"}
        before = run("check", config=TRACKERS, **known)
        run("db", "upgrade", **known)
        key = Fernet.generate_key().decode()
        after = [run("check", SHIPMATE_KEY=key, **known).output for _ in range(2)]
    assert before.exit_code == 1
    lines = before.output.splitlines()
    assert "ok trackers.good: Jira Cloud as Shipmate Bot, USER, no webhooks" in lines
    fired = "status reached 'Done' in USER → shop {{fix_version}} to staging (dry run)"
    assert f"ok trackers.good.triggers[0]: {fired}" in lines
    assert "!! trackers.refused: jira: http_401: put a valid credential into trackers.refused" in before.output
    assert "-- trackers.rotating: tokens that change with every use are kept in the database" in before.output
    assert all("ok trackers.rotating: Jira Cloud as Shipmate Bot" in output for output in after)
    assert jira.refresh_tokens == ["first-refresh-token", "refresh-1"]


APPROVED = """
sources: {ci: {kind: buildbot, url: "http://127.0.0.1:9", webhook_token: "${NIGHTLY_SECRET}"}}
environments: {staging: {}, production: {approvals: {needed: 1, from: release}}}
roles: {release: {members: ["ada@example.com", "bo@example.com"], can: approve}}
services:
  shop: {deploy: {source: ci, project: go}, versions: any, environments: {staging: {}, production: {}}}
trackers:
  jira:
    kind: jira
    url: http://127.0.0.1:9
    projects: USER
    poll: 1m
    auth: {method: basic, user: bot@example.com, token: "${NIGHTLY_SECRET}"}
    triggers:
      - {status: Done, service: shop, environment: production}
      - {status: Tried, service: shop, environment: production, dry_run: true}
      - {status: Staged, service: shop, environment: staging}
      - {versions: {"v.*": shop}, environment: production}
      - {versions: {"w.*": shop}, environment: production, approvals: 2}
"""
DATA_CENTER = 'edition: data_center\n    auth: {method: bearer, token: "${NIGHTLY_SECRET}"}'


@pytest.mark.parametrize(
    ("written", "instead", "doubted"),
    [
        ("", "", [0, 3]),
        ("poll: 1m", 'poll: 1m\n    people: {5b10: "ada@example.com"}', [3]),
        ('auth: {method: basic, user: bot@example.com, token: "${NIGHTLY_SECRET}"}', DATA_CENTER, [3]),
    ],
    ids=["hidden", "people", "data center"],
)
def test_check_doubts_approvals_by_who_is_not_known(run: Run, written: str, instead: str, doubted: list[int]) -> None:
    """A trigger that leads to them, where one of those who approve may be who set it off."""
    lines = run("check", config=APPROVED.replace(written, instead, 1) if written else APPROVED).output.splitlines()
    found = [line.partition(":")[0] for line in lines if line.startswith("?? trackers.jira.triggers")]
    assert found == [f"?? trackers.jira.triggers[{at}]" for at in doubted]


def test_check_doubts_people_whom_nobody_knows(run: Run, playground: Playground) -> None:
    """A platform that is not there, and an id that a platform does not have: neither keeps anybody from approving."""
    people = 'people: {a: "irc:ada", b: "slack:U1", c: "slack:U024ALICE01", d: ada@example.com}'
    more = APPROVED.replace("poll: 1m", f"poll: 1m\n    {people}", 1)
    lines = run("check", config=_at(playground, more=more), **TOKENS).output.splitlines()
    assert [line for line in lines if line.startswith("?? trackers.jira.people")] == [
        "?? trackers.jira.people.a: irc is no platform",
        "?? trackers.jira.people.b: slack knows nobody of this id, or a guest, a bot or somebody gone",
    ]


def test_db_upgrade_makes_the_schema_and_may_be_repeated(run: Run) -> None:
    """The file lies where the settings say, and nothing else is made: no key."""
    for _ in range(2):
        result = run("db", "upgrade", config="database_url: sqlite:///here/it.db\n")
        assert result.output == "the schema is up to date\n"
    assert sorted(path.name for path in Path().iterdir()) == ["here", "shipmate.yaml"]


def test_help_lists_every_command(run: Run) -> None:
    """Someone who types --help finds all there is."""
    output = run("--help").output
    for name in (
        "run",
        "web",
        "worker",
        "stream",
        "clock",
        "check",
        "routes",
        "preview",
        "db",
        "slack",
        "dead",
        "deliveries",
    ):
        assert f"\n  {name} " in output
