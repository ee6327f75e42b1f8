"""Neutral cards that every platform's renderer is held to: `cards()["typical.zh-CN"]` and so on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from bot.domain.cards import (
    Action,
    Card,
    Code,
    Confirm,
    Field,
    Lines,
    Link,
    Moment,
    Notice,
    Paragraph,
    Person,
    Preformatted,
    Strong,
    Style,
    Tone,
    text,
)
from tests.cards.issues import issue, issue_hostile
from tests.cards.operations import explained, given_up, overfull

STARTED = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)
BUILD_URL = "https://ci.example.com/builds/12?tab=(log)&x=1"
NASTY = (
    "*bold* _it_ ~no~ `code` [click](https://evil.example) ![i](https://evil.example/i.png) <https://evil.example|ok> "
    "<!channel> <@U024BE7LH> @all @manager4220 <font color=red>x</font> <script>alert(1)</script> &lt;b&gt; "
    "dtmd://dingtalkclient/sendMessage?content=cancel \u202egnp.exe\u202c \u200b\x00\x1b[31mred\x1b[0m 你好 שלום"
)
NASTY_LINES = f"# heading\n> quote\n- item\n1. one\n---\n```\n{NASTY}\n```"
ENGLISH = "en"
CHINESE = "zh-CN"
_ZONES = {ENGLISH: "Europe/Berlin", CHINESE: "Asia/Shanghai"}
_WORDS = {
    ENGLISH: ("Branch", "Started", "By", "Stages", "Failed tests", "Log", "Retry", "Cancel", "View build", "failed"),
    CHINESE: ("分支", "开始时间", "触发人", "阶段", "失败的测试", "日志", "重试", "取消", "查看构建", "失败"),
}


def cards() -> dict[str, Card]:
    """Every case in every language, by `<case>.<locale>`."""
    made = {}
    for locale in (ENGLISH, CHINESE):
        for make in (minimal, typical, longest, hostile, decided, calling, explained, overfull, issue, issue_hostile):
            made[f"{make.__name__}.{locale}"] = make(locale)
    return made


def notices() -> dict[str, Notice]:
    """Remarks that notify, by `<case>.<locale>`."""
    makers = (remark, outburst, given_up)
    return {f"{make.__name__}.{locale}": make(locale) for locale in (ENGLISH, CHINESE) for make in makers}


def minimal(locale: str) -> Card:
    """Nothing but what a card must have."""
    return Card(Tone.NEUTRAL, "user-service", locale=locale)


def typical(locale: str) -> Card:
    """A failed build."""
    branch, started, by, stages, tests, log, retry, _, view, failed = _WORDS[locale]
    return Card(
        tone=Tone.FAILURE,
        emoji="❌",
        title=f"user-service #12 · {failed}",
        title_url=BUILD_URL,
        fields=(
            Field(branch, text(Code("feature/log_in"))),
            Field(started, text(Moment(STARTED))),
            Field(by, text(Person("Chen Wei 陈伟", "dingtalk:manager4220"))),
        ),
        sections=(
            Lines((text("✅ ", "checkout", " · 2 s"), text("❌ ", Strong("test"), " · 41 s")), title=f"{stages}: 1/2"),
            Lines((text(Code("test_log_in.py::test_wrong_password"), " — assert 500 == 401"),), title=tests, hidden=3),
            Preformatted("collected 2 items\n\nE   assert 500 == 401\n2 failed in 0.12s", title=log),
        ),
        actions=(
            Action("retry", retry, "retry buildbot/user-service#12@1", style=Style.PRIMARY),
            Action("open", view, url=BUILD_URL),
        ),
        subject="build:buildbot/user-service#12",
        locale=locale,
        timezone=_ZONES[locale],
    )


def longest(locale: str) -> Card:
    """More of everything than any platform takes."""
    branch, _, _, stages, _, log, retry, _, view, _ = _WORDS[locale]
    many = tuple(text(f"✅ {stages} {number} ", "构建" * 20, f" · {number} s") for number in range(300))
    return Card(
        tone=Tone.RUNNING,
        emoji="⏳",
        title="很长的标题 very long title " * 20,
        title_url=BUILD_URL,
        fields=tuple(Field(f"{branch} {number}", text("value 值 " * 40)) for number in range(40)),
        sections=(
            Lines(many, title=stages * 60),
            Paragraph(text("x" * 10_000), title=log),
            Preformatted("\n".join(f"{number:04} 日志 {'line ' * 30}" for number in range(2000)), title=log),
            *(Paragraph(text("passage 段落 " * 50)) for _ in range(60)),
        ),
        actions=tuple(
            Action(f"retry-{number}", f"{retry} {number} {view * 20}", f"retry buildbot/user-service#{number}@1")
            for number in range(40)
        ),
        footer=text("footer 脚注 " * 400),
        subject="build:buildbot/user-service#12",
        is_final=False,
        locale=locale,
        timezone=_ZONES[locale],
    )


def hostile(locale: str) -> Card:
    """Text from outside that tries to be markup, a mention, a link or a control character."""
    return Card(
        tone=Tone.FAILURE,
        emoji="❌",
        title=NASTY,
        title_url="javascript:alert(1)",
        fields=(
            Field(NASTY, text(Code(NASTY))),
            Field("link", text(Link(NASTY, "javascript:alert(1)"), Link("](x", "https://example.com/a)b [c]"))),
            Field("person", text(Person(NASTY, "elsewhere:U1", is_mentioned=True), Strong(NASTY))),
        ),
        sections=(
            Lines((text(NASTY_LINES), text("")), title=NASTY),
            Paragraph(text(NASTY_LINES), title=NASTY),
            Preformatted(NASTY_LINES, title=NASTY),
            Preformatted(""),
        ),
        actions=(
            Action("retry", NASTY, "retry buildbot/user-service#12@1"),
            Action("bad-link", "bad link", url="javascript:alert(1)"),
            Action("dtmd-link", "bad link", url="dtmd://dingtalkclient/sendMessage?content=x"),
        ),
        footer=text(NASTY),
        subject="build:buildbot/user-service#12",
        locale=locale,
        timezone="Nowhere/Unknown",
    )


def decided(locale: str) -> Card:
    """A build that somebody retried: no action that changes anything is left."""
    branch, started, _, stages, _, _, _, cancel, view, _ = _WORDS[locale]
    by = "Retried by 张敏" if locale == ENGLISH else "已由张敏重试"
    return Card(
        tone=Tone.CANCELLED,
        emoji="🚫",
        title=f"user-service #12 · {cancel}",
        title_url=BUILD_URL,
        fields=(Field(branch, text(Code("main"))), Field(started, text(Moment(STARTED)))),
        sections=(Lines((text("✅ checkout · 2 s"), text("🚫 test")), title=stages),),
        actions=(
            Action("open", view, url=BUILD_URL),
            Action(
                "stop",
                cancel,
                "cancel buildbot/user-service#13@2",
                style=Style.DANGER,
                confirm=Confirm(cancel, "user-service#13?", "OK", "No"),
            ),
        ),
        footer=text("🔁 ", by, " → ", Link("user-service#13", "https://ci.example.com/builds/13")),
        subject="build:buildbot/user-service#12",
        locale=locale,
        timezone=_ZONES[locale],
    )


def remark(locale: str) -> Notice:
    """What is said once in a thread when a build failed."""
    failed = _WORDS[locale][-1]
    return Notice(
        "❌",
        text(Strong("user-service#12"), " ", failed, ": ", Code("test_wrong_password")),
        (
            Person("张敏", "dingtalk:manager4220", is_mentioned=True),
            Person("Alice", "slack:U024BE7LH", is_mentioned=True),
        ),
        locale=locale,
        timezone=_ZONES[locale],
    )


def outburst(locale: str) -> Notice:
    """A remark to everybody, with text that misbehaves and a log that is too long."""
    everybody = (Person("all", "dingtalk:*", is_mentioned=True), Person("channel", "slack:*", is_mentioned=True))
    log = "\n".join(f"{number:04} {NASTY}" for number in range(400))
    return Notice("❌", text(NASTY * 20), everybody, Preformatted(log, title=NASTY), locale=locale, timezone="UTC")


def calling(locale: str) -> Card:
    """A failed build that calls people itself, because no notice can stand beside it."""
    people = (Person("manager4220", "dingtalk:manager4220", is_mentioned=True), " ")
    others = (Person("U024BE7LH", "slack:U024BE7LH", is_mentioned=True),)
    card = typical(locale)
    return replace(card, sections=(), actions=(), footer=text(*people, *others))
