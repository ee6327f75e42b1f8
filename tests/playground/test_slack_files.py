"""Uploads through slack_sdk: the three steps, what is refused, and what the page gets."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from playground.server import Playground

CI, RANDOM = "C024CI00001", "C024RANDOM3"


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """The error that a call is refused with."""
    with pytest.raises(SlackApiError) as caught:
        call(**arguments)
    return str(caught.value.response["error"])


def uploaded(slack: WebClient, content: bytes = b"\x89PNG") -> str:
    """A file whose bytes have come."""
    ticket = slack.files_getUploadURLExternal(filename="a.png", length=len(content))
    assert requests.post(ticket["upload_url"], data=content, timeout=30).text == f"OK - {len(content)}"
    return str(ticket["file_id"])


def test_the_sdk_uploads_into_a_thread(playground: Playground, slack: WebClient) -> None:
    """`files_upload_v2` goes all three steps by itself."""
    card = slack.chat_postMessage(channel=CI, text="card")
    slack.files_upload_v2(
        channel=CI, thread_ts=card["ts"], content=b"\x89PNG", filename="a.png", title="A chart", initial_comment="*see*"
    )
    [shown] = playground.client.messages("slack", "#ci")
    assert [one["text"] for one in shown["thread"]] == ["see\nA chart"]
    told = slack.conversations_replies(channel=CI, ts=card["ts"])["messages"][1]
    assert [(file["name"], file["mimetype"], file["size"]) for file in told["files"]] == [("a.png", "image/png", 4)]


def test_without_a_channel_a_file_stays_private(playground: Playground, slack: WebClient) -> None:
    """Nothing is posted; and it is shared once."""
    file = uploaded(slack)
    slack.files_completeUploadExternal(files=[{"id": file}])
    assert playground.client.messages("slack", "#ci") == []
    assert refusal(slack.files_completeUploadExternal, files=[{"id": file}], channel_id=CI) == "file_not_found"


def test_what_is_refused(slack: WebClient) -> None:
    """By the words that Slack documents for the two methods."""
    ticket, share = slack.files_getUploadURLExternal, slack.files_completeUploadExternal
    assert refusal(ticket, filename="a.png", length=0) == "missing_argument"
    assert refusal(ticket, filename="a.png", length=4, alt_txt="x" * 1001) == "alt_txt_too_large"
    assert refusal(share, files=[{"id": "F0"}], channel_id=CI) == "file_not_found"
    assert refusal(share, files=[{"id": uploaded(slack)}], channel_id="#ci") == "channel_not_found"
    assert refusal(share, files=[{"id": uploaded(slack)}], channel_id=RANDOM) == "not_in_channel"
    empty = slack.files_getUploadURLExternal(filename="a.png", length=4)
    assert requests.post(empty["upload_url"], data=b"\x89", timeout=30).status_code == 400
    assert refusal(share, files=[{"id": empty["file_id"]}], channel_id=CI) == "file_not_found"


def test_the_page_gets_no_script(playground: Playground, slack: WebClient) -> None:
    """A file that is no picture is not shown in the page's name, and one that was not shared not at all."""
    ticket = slack.files_getUploadURLExternal(filename="a.html", length=4)
    where = f"{playground.url}/slack/files/{ticket['file_id']}/a.html"
    requests.post(ticket["upload_url"], data=b"<b/>", timeout=30)
    assert requests.get(where, timeout=30).status_code == 404
    slack.files_completeUploadExternal(files=[{"id": ticket["file_id"]}], channel_id=CI)
    answer = requests.get(where, timeout=30)
    assert (answer.headers["Content-Type"], answer.headers["Content-Disposition"]) == (
        "application/octet-stream",
        "attachment",
    )
