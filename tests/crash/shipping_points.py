"""Where the process dies on the way to the rarer ends of deployments, and between Shipmate and trackers."""

from __future__ import annotations

from tests.crash.point import (
    AUDIT,
    CARDS,
    COMMIT,
    DELIVERIES,
    DESK,
    ENDING,
    LOAD,
    PIPELINE,
    POST,
    RECORDS,
    ROBOT,
    SHIPPER,
    STEPPING,
    UPDATE,
    after,
    before,
)

END, RESTORED = f"{ENDING}.end", f"{ENDING}._restored"
REQUESTS, TRIGGERED = (
    "bot.services.deployments.requests:Requests",
    "bot.services.deployments.triggered:TriggeredDeployments",
)
INBOX, TRACKING = "bot.services.tracking:ChangeInbox", "bot.services.tracking:TrackerWorker"
TAKEN = f"{INBOX}._taken"
TELLER, TASKS = "bot.services.telling:Teller", "bot.storage.tracking:SqlTrackerTasks"
POLLER, POLLS = "bot.services.polling:Poller", "bot.storage.tracking:SqlPolls.put"
JIRA, BOARDS = "integrations.jira.client:JiraTracker", "integrations.azure_boards.client:BoardsTracker"
JIRA_HOOK, BOARDS_HOOK = (
    "integrations.jira.webhook:JiraWebhook.receive",
    "integrations.azure_boards.webhook:BoardsWebhook.receive",
)
RECORDED = "integrations.jira.records:JiraRecords"
FETCH = "integrations.jira.auth:fetch"
TOKENS, KEPT = "bot.storage.tracking:SqlTokens", "bot.services.tokens:StoredTokens"

_CANCELLED = {
    # somebody rejects it before it begins
    "before_reject": before(END, load="cancelled"),
    "in_rejected": after(RECORDS, call=2, load="cancelled"),
    "after_reject": after(f"{DESK}.step", load="cancelled"),
    "before_rejected_card": before(UPDATE, since=END, is_elsewhere=True, load="cancelled"),
    "after_rejected_card": after(UPDATE, since=END, is_elsewhere=True, load="cancelled"),
    "after_rejected_robot_post": after(ROBOT, since=END, is_elsewhere=True, load="cancelled"),
    "before_rejected_told": before(f"{JIRA}.comment", load="cancelled"),
    "after_rejected_told": after(f"{JIRA}.comment", load="cancelled"),
    # its run is stopped
    "in_stop_asked": after(RECORDS, call=5, load="cancelled"),
    "after_stop_asked": after(f"{DESK}.step", call=2, load="cancelled"),
    "before_stop_order": before(f"{PIPELINE}.stop", load="cancelled"),
    # the CI system was told to stop the run, nobody has looked whether it did
    "after_stop_order": after("integrations.buildbot.api:BuildbotApi.control", load="cancelled"),
    "after_stop_seen": after(f"{PIPELINE}.look", since=f"{PIPELINE}.stop", load="cancelled"),
    "in_stopped": after(RECORDS, call=6, load="cancelled"),
    "after_stopped": after(f"{STEPPING}.settle", load="cancelled"),
    "before_stopped_told": before(f"{JIRA}.transition", load="cancelled"),
    "after_stopped_told": after(f"{JIRA}.transition", load="cancelled"),
}
_EXPIRED = {
    "in_reminded": after(RECORDS, call=2, load="expired"),
    "after_reminded": after(f"{SHIPPER}._wait", load="expired"),
    "after_reminder": after(POST, since=f"{SHIPPER}._wait", is_elsewhere=True, load="expired"),
    "before_expiry": before(f"{SHIPPER}._wait", call=2, load="expired"),
    "in_expired": after(RECORDS, call=3, load="expired"),
    "after_expired": after(f"{SHIPPER}._wait", call=2, load="expired"),
    "before_expired_told": before(f"{JIRA}.comment", load="expired"),
    "after_expired_told": after(f"{JIRA}.comment", load="expired"),
    # nobody ever confirmed it: no card, but an end
    "in_unconfirmed": after(RECORDS, call=4, load="expired"),
    "after_unconfirmed": after(f"{SHIPPER}._wait", call=3, load="expired"),
}
_SUPERSEDED = {
    "in_last_queued": after(RECORDS, call=4, load="superseded"),
    "before_superseding": before(f"{REQUESTS}._supersede", call=3, load="superseded"),
    "in_superseded": after(RECORDS, call=5, load="superseded"),
    "after_superseding": after(f"{REQUESTS}._supersede", call=3, load="superseded"),
    "after_superseded": after(f"{TRACKING}._act", call=3, load="superseded"),
    "before_superseded_told": before(f"{JIRA}.comment", load="superseded"),
    "after_superseded_told": after(f"{JIRA}.comment", load="superseded"),
    "after_let_through": after(f"{ENDING}.wake_line", load="superseded"),
}
_ROLLBACK_FAILED = {
    "before_second_failure": before(f"{STEPPING}.settle", call=3, load="rollback_failed"),
    "in_rollback_failed": after(RECORDS, call=11, load="rollback_failed"),
    "before_not_restored": before(RESTORED, load="rollback_failed"),
    "in_not_restored": after(RECORDS, call=12, load="rollback_failed"),
    "after_not_restored": after(RESTORED, load="rollback_failed"),
    # the page is written down with the end
    "after_page_row": after(f"{CARDS}.open", since=RESTORED, load="rollback_failed"),
    "after_second_failure": after(f"{STEPPING}.settle", call=3, load="rollback_failed"),
    "before_page": before(POST, since=RESTORED, is_elsewhere=True, load="rollback_failed"),
    "after_page": after(POST, since=RESTORED, is_elsewhere=True, load="rollback_failed"),
    "after_next_page": after(POST, call=2, since=RESTORED, is_elsewhere=True, load="rollback_failed"),
    "before_robot_page": before(ROBOT, since=RESTORED, is_elsewhere=True, load="rollback_failed"),
    # the group was called, nobody has noted it, and a robot cannot be asked: it will be called again
    "after_robot_page": after(ROBOT, since=RESTORED, is_elsewhere=True, load="rollback_failed"),
    "before_page_settle": before(f"{DELIVERIES}.settle", since=RESTORED, is_elsewhere=True, load="rollback_failed"),
    "after_page_settle": after(f"{DELIVERIES}.settle", since=RESTORED, is_elsewhere=True, load="rollback_failed"),
    "after_failure_told": after(f"{JIRA}.transition", call=2, load="rollback_failed"),
    "after_failure_linked": after(f"{JIRA}.link", call=2, load="rollback_failed"),
    "after_second_failure_told": after(f"{JIRA}.transition", call=3, load="rollback_failed"),
    # the next one finds the lock
    "in_locked_out": after(RECORDS, call=13, load="rollback_failed"),
    "after_locked_out": after(f"{SHIPPER}._stay_queued", load="rollback_failed"),
    "in_locked_cancelled": after(RECORDS, call=14, load="rollback_failed"),
    "after_locked_cancelled": after(f"{DESK}.step", load="rollback_failed"),
}
ENDS = {**_CANCELLED, **_EXPIRED, **_SUPERSEDED, **_ROLLBACK_FAILED}

_HEARD = {
    "before_change": before(JIRA_HOOK, load="jira"),
    "after_change_read": after(JIRA_HOOK, load="jira"),
    "after_change_row": after(f"{TASKS}.add", load="jira"),
    "before_change_commit": before(COMMIT, since=f"{TASKS}.add", load="jira"),
    "after_change_commit": after(COMMIT, since=f"{TASKS}.add", load="jira"),
    # the change is stored, Jira waits for its answer
    "after_change": after(TAKEN, load="jira", role="web"),
    "after_change_lease": after(f"{TASKS}.lease", since=TAKEN, is_elsewhere=True, load="jira"),
    "before_acting": before(f"{TRACKING}._act", load="jira"),
    "after_asking_issue": after(f"{JIRA}.issue", load="jira"),
    "after_proposing": after(f"{TRIGGERED}.propose", load="jira"),
    "before_firing": before(f"{TRIGGERED}.fire", load="jira"),
    "after_firing": after(f"{TRIGGERED}.fire", load="jira"),
    "after_firing_audited": after(AUDIT + ".append", since=f"{TRIGGERED}.fire", call=3, load="jira"),
    "after_origin_row": after("bot.services.tracking:remember_origin", load="jira"),
    # the deployment is asked for, and the change is done
    "after_acting": after(f"{TRACKING}._act", load="jira"),
}
_TOLD = {
    "before_telling": before(f"{TELLER}._deployment", load="jira"),
    "before_transition": before(f"{JIRA}.transition", load="jira"),
    # the issue is moved and commented, nobody has noted it
    "after_transition": after(f"{JIRA}.transition", load="jira"),
    "after_transition_again": after(f"{JIRA}.transition", first="after_transition", load="jira"),
    "after_comment_sought": after(f"{JIRA}.comment", load="jira"),
    "before_submission": before(f"{RECORDED}.submit_deployment", load="jira"),
    "after_submission": after(f"{RECORDED}.submit_deployment", load="jira"),
    "after_last_submission": after(f"{RECORDED}.submit_deployment", call=4, load="jira"),
    "before_link": before(f"{JIRA}.link", load="jira"),
    "after_link": after(f"{JIRA}.link", load="jira"),
    "before_fix_version": before(f"{JIRA}.add_fix_version", call=2, load="jira"),
    "after_fix_version": after(f"{JIRA}.add_fix_version", call=2, load="jira"),
    "before_told_settle": before(f"{TRACKING}._end", load="jira"),
    "after_told_settle": after(f"{TASKS}.settle", since=f"{TELLER}._deployment", load="jira"),
    "after_told": after(f"{TRACKING}._end", load="jira"),
    "after_refusal_row": after("bot.services.tracking:remember_refusal", load="refused"),
    "before_refusal_told": before(f"{JIRA}.comment", load="refused"),
    # the comment stands, nobody has noted it
    "after_refusal_told": after(f"{JIRA}.comment", load="refused"),
    "after_refusal_told_again": after(f"{JIRA}.comment", first="after_refusal_told", load="refused"),
}
_BOARDS = {
    "before_hook": before(BOARDS_HOOK, load="boards"),
    "after_hook": after(TAKEN, load="boards", role="web"),
    "before_item_transition": before(f"{BOARDS}.transition", load="boards"),
    "after_item_transition": after(f"{BOARDS}.transition", load="boards"),
    "after_item_comment": after(f"{BOARDS}.comment", load="boards"),
    "before_item_link": before(f"{BOARDS}.link", load="boards"),
    "after_item_link": after(f"{BOARDS}.link", load="boards"),
    "before_item_settle": before(f"{TRACKING}._end", load="boards"),
}
_POLLED = {
    "before_first_poll": before(f"{POLLER}._remember", load="polled"),
    "after_first_poll": after(f"{POLLER}._remember", load="polled"),
    "before_asking_changes": before(f"{JIRA}.changes", since=LOAD, is_elsewhere=True, load="polled"),
    "after_asking_changes": after(f"{JIRA}.changes", since=LOAD, is_elsewhere=True, load="polled"),
    "before_changes_stored": before(f"{INBOX}.submit", since=LOAD, is_elsewhere=True, load="polled"),
    "after_changes_row": after(f"{TASKS}.add", since=LOAD, is_elsewhere=True, load="polled"),
    # the changes are stored, how far was asked is not
    "after_changes_stored": after(TAKEN, since=LOAD, is_elsewhere=True, load="polled"),
    "after_cursor_row": after(POLLS, since=LOAD, is_elsewhere=True, load="polled"),
    "after_cursor": after(f"{POLLER}.poll", since=LOAD, is_elsewhere=True, load="polled"),
}
_RELEASED = {
    "before_release_heard": before(JIRA_HOOK, load="released"),
    "after_release_row": after(f"{TASKS}.add", load="released"),
    # the release is stored, Jira waits for its answer
    "after_release_heard": after(TAKEN, load="released", role="web"),
    # the webhook does not tell the project of a version
    "before_release_sought": before(f"{JIRA}.find", load="released"),
    "after_release_sought": after(f"{JIRA}.find", load="released"),
    "after_release_proposed": after(f"{TRIGGERED}.propose", load="released"),
    "after_release_fired": after(f"{TRIGGERED}.fire", load="released"),
    "after_release_acted": after(f"{TRACKING}._act", load="released"),
    "after_release_told_again": after(TAKEN, call=2, load="released"),
    # versions that were released before anybody asked are known, and that this was asked is not
    "after_old_release_row": after(f"{TASKS}.add", load="released_unheard"),
    "after_old_releases": after(f"{POLLER}._remember", load="released_unheard"),
    "after_releases_asked": after(f"{JIRA}.releases", since=LOAD, is_elsewhere=True, load="released_unheard"),
    "after_polled_release_row": after(f"{TASKS}.add", since=LOAD, is_elsewhere=True, load="released_unheard"),
    # the release is stored, how far was asked is not
    "after_polled_release": after(TAKEN, since=LOAD, is_elsewhere=True, load="released_unheard"),
    "after_release_cursor": after(POLLS, since=LOAD, is_elsewhere=True, load="released_unheard"),
    "after_polled_release_acted": after(f"{TRACKING}._act", since=LOAD, is_elsewhere=True, load="released_unheard"),
}
_TOKEN = {
    "after_token_held": after(f"{TOKENS}.hold", load="token"),
    "before_token": before(FETCH, load="token"),
    # the vendor has given another token and the one that is stored is void, but for a while
    "after_token": after(FETCH, load="token"),
    "after_token_again": after(FETCH, first="after_token", load="token"),
    "after_later_token": after(FETCH, call=3, load="token"),
    "after_token_row": after(f"{TOKENS}.replace", load="token"),
    "after_token_kept": after(f"{KEPT}.replace", load="token"),
}
TRACKERS = {**_HEARD, **_TOLD, **_BOARDS, **_POLLED, **_RELEASED, **_TOKEN}
