"""The page in Chromium: it draws safely, keeps focus, and works by keyboard."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient

from playground.server import Playground
from tests.pages import opened
from tests.playground.clients import DingTalkApi
from tests.playground.samples import CARDS, SECTION, card, modal, plain

pytestmark = pytest.mark.browser


@pytest.fixture
def page(playground: Playground) -> Iterator[Page]:
    """The playground's page; any error on its console fails the test."""
    with opened(playground.url) as page:
        page.wait_for_selector(".empty")
        yield page


def test_a_command_and_another_person(
    playground: Playground, app: App, connect: Callable[[App], SocketModeHandler], page: Page
) -> None:
    """Enter sends; the answer is drawn for its asker only; the bot may be invited and written to directly."""

    @app.command("/ship")
    def ship(ack: Callable[..., None]) -> None:
        ack("*helpful* answer")

    connect(app)
    box = page.get_by_label("Message in Slack")
    box.fill("/ship help")
    box.press("Enter")
    expect(page.locator(".ephemeral")).to_contain_text("Only visible to you")
    expect(page.locator(".ephemeral strong").last).to_have_text("helpful")
    expect(box).to_have_value("")
    page.get_by_label("Who you are in Slack").select_option("U024BOB0002")
    expect(page.locator(".ephemeral")).to_have_count(0)
    channels = page.get_by_role("group", name="Slack channels")
    channels.get_by_role("button", name="#random").click()
    page.get_by_role("button", name="Invite Shipmate").click()
    expect(page.locator(".slack .message")).to_contain_text("was added to #random by Bob")
    channels.get_by_role("button", name="direct").click()
    expect(channels.get_by_role("button", name="@bob")).to_have_attribute("aria-pressed", "true")


def test_a_card_its_modal_and_an_edit_under_the_focus(
    playground: Playground, slack: WebClient, app: App, connect: Callable[[App], SocketModeHandler], page: Page
) -> None:
    """A modal opens and closes by keyboard, hostile text stays text, and an edit takes no focus away."""

    @app.action("details")
    def details(ack: Callable[..., None], body: dict[str, str], client: WebClient) -> None:
        ack()
        client.views_open(trigger_id=body["trigger_id"], view=modal(SECTION))

    connect(app)
    hostile = "<!date^1700000000^{date_num}|then> &lt;img src=x onerror=alert(1)&gt;"
    button = {"type": "button", "action_id": "details", "text": plain("View details")}
    blocks = [
        {"type": "section", "text": {"type": "mrkdwn", "text": hostile}},
        {"type": "actions", "block_id": "b", "elements": [button]},
    ]
    card = {"fallback": "x", "color": "danger", "blocks": blocks}
    ts = slack.chat_postMessage(channel="C024CI00001", text="x", attachments=[card])["ts"]
    message = page.locator(f"[data-key='{ts}']")
    expect(message).to_contain_text("<img src=x onerror=alert(1)>")
    expect(message.locator("time").last).to_contain_text("2023")
    message.get_by_role("button", name="View details").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#modal")).to_contain_text("Loading")
    view = next(iter(playground.state()["platforms"]["slack"]["modals"]))
    slack.views_update(view_id=view, view=modal({"type": "section", "text": plain("All stages")}))
    expect(page.locator("#modal")).to_contain_text("All stages")
    page.keyboard.press("Escape")
    expect(page.locator("#modal")).to_be_hidden()
    expect(message.get_by_role("button", name="View details")).to_be_focused()
    slack.chat_update(channel="C024CI00001", ts=ts, text="x", attachments=[card | {"color": "good"}])
    expect(message).to_contain_text("edited")
    expect(message.get_by_role("button", name="View details")).to_be_focused()


def test_a_narrow_window_shows_one_platform(api: DingTalkApi, page: Page) -> None:
    """At 400 pixels one column is shown at a time, and nothing is wider than the window."""
    api.call("POST", f"{CARDS}/createAndDeliver", card())
    expect(page.locator(".d-card")).to_contain_text("分支")
    page.set_viewport_size({"width": 400, "height": 800})
    expect(page.locator("#dingtalk")).to_be_hidden()
    page.locator(".switch").get_by_role("button", name="DingTalk").click()
    expect(page.locator(".d-card").get_by_role("button", name="重试")).to_be_visible()
    expect(page.locator("#slack")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 400
