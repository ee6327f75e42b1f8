"""The demo in a browser: a person reads a failed build's card, presses Retry, and sees the next one pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.pages import opened
from tests.scenarios.buildbot_scene import SLOW_S, BuildbotScene

ON_SQLITE = pytest.mark.parametrize("bot_database", ["sqlite"], indirect=True, scope="session")
# On one engine: what a person's mouse does ends at the playground; tests/scenarios presses the same on both.
pytestmark = [pytest.mark.browser, pytest.mark.buildbot, ON_SQLITE]

PATIENCE_MS = SLOW_S * 1000


@pytest.fixture
def page(buildbot_scene: BuildbotScene) -> Iterator[Page]:
    """The playground's page, beside a bot and a real Buildbot."""
    with opened(buildbot_scene.scene.playground.url) as page:
        yield page


def card(page: Page, platform: str, title: str) -> Locator:
    """A build's card on one side of the page."""
    return page.locator(f".{platform} [data-key]").filter(has_text=f"{title} ").filter(has=page.get_by_role("button"))


def following(title: str) -> str:
    """The title of the next build."""
    name, _, number = title.partition("#")
    return f"{name}#{int(number) + 1}"


def test_retry_by_mouse(buildbot_scene: BuildbotScene, page: Page) -> None:
    """A click on Retry in Slack: the old card says who did it, the new build's card turns ✅ on both sides."""
    title = buildbot_scene.push()
    failed = card(page, "slack", title)
    expect(failed).to_contain_text(f"❌ {title}", timeout=PATIENCE_MS)
    expect(failed).to_contain_text("AssertionError", timeout=PATIENCE_MS)
    failed.get_by_role("button", name="Retry").click()
    expect(page.locator(".slack .ephemeral").last).to_contain_text("Started build", timeout=PATIENCE_MS)
    for platform in ("slack", "dingtalk"):
        expect(card(page, platform, following(title))).to_contain_text(f"✅ {following(title)}", timeout=PATIENCE_MS)
    expect(failed).to_contain_text("Retried by Alice", timeout=PATIENCE_MS)
    expect(failed.get_by_role("button", name="Retry")).to_have_count(0)


def test_retry_on_a_dingtalk_card(buildbot_scene: BuildbotScene, page: Page) -> None:
    """The same press in the DingTalk group does the same."""
    title = buildbot_scene.push()
    failed = card(page, "dingtalk", title)
    expect(failed).to_contain_text("AssertionError", timeout=PATIENCE_MS)
    failed.get_by_role("button", name="重试").click()
    for platform in ("dingtalk", "slack"):
        expect(card(page, platform, following(title))).to_contain_text(f"✅ {following(title)}", timeout=PATIENCE_MS)


def test_details_by_mouse(buildbot_scene: BuildbotScene, page: Page) -> None:
    """View details opens a window that fills with stages, the failed test and the log."""
    title = buildbot_scene.push()
    failed = card(page, "slack", title)
    expect(failed).to_contain_text("AssertionError", timeout=PATIENCE_MS)
    failed.get_by_role("button", name="View details").click()
    window = page.locator("#modal")
    for words in ("unit tests", "test_known_person_has_a_display_name", "Traceback"):
        expect(window).to_contain_text(words, timeout=PATIENCE_MS)
    window.get_by_role("button", name="Close").first.click()
    expect(window).to_be_hidden()


def test_everything_by_keyboard(buildbot_scene: BuildbotScene, page: Page) -> None:
    """Without a mouse: `/ship status` is typed, then Tab leads to Retry and Enter presses it."""
    title = buildbot_scene.push()
    failed = card(page, "slack", title)
    expect(failed).to_contain_text("AssertionError", timeout=PATIENCE_MS)
    page.get_by_label("Message in Slack").focus()
    page.keyboard.type("/ship status")
    page.keyboard.press("Enter")
    answer = page.locator(".slack .ephemeral").last
    expect(answer).to_contain_text("How things stand", timeout=PATIENCE_MS)
    expect(answer).to_contain_text(title.replace(" #", "#"))
    page.get_by_label("Messages in Slack").focus()
    retry = failed.get_by_role("button", name="Retry")
    for _ in range(200):
        page.keyboard.press("Tab")
        if retry.evaluate("button => button === document.activeElement"):
            break
    expect(retry).to_be_focused()
    page.keyboard.press("Enter")
    expect(card(page, "slack", following(title))).to_contain_text(f"✅ {following(title)}", timeout=PATIENCE_MS)
