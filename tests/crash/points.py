"""Where the process dies: named points on an event's and a command's whole way, at the start, and in upkeep.

Whoever adds a step that stores or sends something adds a point before or after it.
"""

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
    RUNNING,
    SHIPPER,
    STEPPING,
    UPDATE,
    Point,
    after,
    before,
)
from tests.crash.shipping_points import ENDS, TRACKERS

WEBHOOK = "integrations.buildbot.webhook:BuildbotWebhook.receive"
INGEST = "bot.services.ingest:Ingest.accept_in"
INGESTED = "bot.services.ingest:Ingest._accepted"
EVENTS, SUBJECTS = "bot.storage.events:SqlEventLog.add", "bot.storage.subjects:SqlSubjects.put"
PACING, NOISE = "bot.storage.pacing:SqlPacing", "bot.storage.noise:SqlNoise"
JOBS, COMMANDS = "bot.storage.work:SqlJobs", "bot.storage.work:SqlCommands"
DELIVERER = "bot.services.delivery:Deliverer"
SLACK, DINGTALK = "integrations.slack.client:SlackMessenger", "integrations.dingtalk.client:DingTalkMessenger"
CHANGE = "integrations.dingtalk.client:DingTalkMessenger._change_card"
READ = "integrations.buildbot.reader:BuildbotReader.fetch"
CONTROL = "integrations.buildbot.control:BuildbotControl"
INBOX, WORKER = "bot.services.command_inbox:CommandInbox.accept", "bot.services.commands:CommandWorker"
STEPS, CLOSING = "bot.services.steps:StepLog", "bot.services.closing:Closing"
ANSWER = "integrations.slack.people:SlackResponder.respond"
LETTERS = "bot.services.dead_letters:DeadLetters"
PLACES = "bot.storage.places:SqlPlaces"
SCHEMA, OPERATIONS = "bot.storage.schema", "alembic.operations:Operations.invoke"
PRUNER, SWEEPS = "bot.services.retention:Pruner", "bot.storage.retention:SqlRetention"
UPKEEP, OVERDUE = "bot.services.upkeep:Upkeep", "bot.services.upkeep:attempts_slot"
WISHES = "bot.services.wishes:Wishes.step"
WINDOW = "integrations.slack.people:SlackModals"
GROUP_DOOR, GROUP_ANSWER = "handlers.dingtalk:Door.take", "integrations.dingtalk.client:DingTalkResponder.respond"
COPY = "bot.storage.backup"
DEPLOYMENTS, CHECKS = "bot.storage.deployments:SqlDeployments", "bot.services.verification:Verification.measure_all"


_INGEST = {
    "before_reading_webhook": before(WEBHOOK),
    "after_reading_webhook": after(WEBHOOK),
    "after_event_row": after(EVENTS),
    "after_subject_row": after(SUBJECTS),
    "after_cards_opened": after(f"{CARDS}.open"),
    "after_cards_wanted": after(f"{CARDS}.want"),
    "after_job_row": after(f"{JOBS}.add"),
    # an event's rows are written in the transaction, which is never committed
    "before_ingest_commit": after(INGEST),
    "before_commit": before(COMMIT, since=INGEST),
    "after_commit": after(COMMIT, since=INGEST),
    "after_ring": after("bot.services.signal:Signal.ring", since=INGEST),
    # the event is committed, the sender waits for its answer
    "after_ingest_commit": after(INGESTED, role="web"),
    "after_storm_row": after(f"{NOISE}.put_storm", call=2, load="storm"),
    "after_folding": after("bot.services.storms:_open_digest", load="storm"),
    "after_touching_digest": after(f"{NOISE}.touch", load="storm"),
}
_RENDER = {
    "before_render": before(f"{SLACK}.render"),
    "after_render": after(f"{SLACK}.render"),
}
_SEND = {
    "after_lease": after(f"{DELIVERIES}.lease", since=INGESTED, is_elsewhere=True),
    "after_due_cards": after(f"{DELIVERIES}.due_cards", since=INGESTED, is_elsewhere=True),
    "after_begin": after(f"{DELIVERIES}.begin"),
    "after_claim_commit": after(f"{DELIVERER}.claim", since=f"{DELIVERIES}.begin"),
    # a destination and an attempt are taken, nothing is sent yet
    "after_claim": before(f"{DELIVERER}.carry_out", since=f"{DELIVERIES}.begin"),
    "before_post": before(f"{SLACK}.send"),
    # Slack has shown the card and said so, nobody has noted it
    "after_post": after(f"{SLACK}.send"),
    # the same for what comes second, the final state or what stands in the card's thread
    "after_notice": after(f"{SLACK}.send", call=2),
    "before_update": before(UPDATE),
    "after_update": after(UPDATE),
    "before_card": before(f"{DINGTALK}.send"),
    # DingTalk has the card
    "after_card": after(f"{DINGTALK}.send"),
    "before_card_change": before(CHANGE),
    "after_card_change": after(CHANGE),
    "after_search": after(f"{SLACK}.find", first="after_post"),
    "after_search_in_vain": after(f"{SLACK}.find", first="after_claim_commit"),
    "after_second_card": after(f"{DINGTALK}.send", first="after_card"),
    "before_digest_post": before(f"{SLACK}.send", since=f"{NOISE}.digest", load="storm"),
    "after_digest_post": after(f"{SLACK}.send", since=f"{NOISE}.digest", load="storm"),
    "before_digest_change": before(UPDATE, since=f"{NOISE}.digest", load="storm"),
    "after_digest_change": after(UPDATE, since=f"{NOISE}.digest", load="storm"),
    "before_robot_post": before(ROBOT, load="robot"),
    # the group has read it, nobody has noted it, and a robot cannot be asked: it will be said again
    "after_robot_post": after(ROBOT, load="robot"),
    "after_robot_end": after(ROBOT, call=2, load="robot"),
    "after_robot_post_again": after(ROBOT, first="after_robot_post", load="robot"),
    # the card's final state is late, a remark in its thread says so
    "before_remark": before(POST, since=OVERDUE, is_elsewhere=True, load="late"),
    "after_remark": after(POST, since=OVERDUE, is_elsewhere=True, load="late"),
}
_SETTLE = {
    "before_settle": before(f"{DELIVERIES}.settle"),
    "after_settle": after(f"{DELIVERIES}.settle"),
    "after_release": after(f"{PACING}.release", since=f"{DELIVERIES}.settle"),
    "after_settle_commit": after(f"{DELIVERER}._settle"),
    "after_found": after(f"{DELIVERIES}.settle", since=f"{SLACK}.find", first="after_post"),
    "before_digest_settle": before(f"{DELIVERIES}.settle", since=f"{NOISE}.digest", load="storm"),
    "before_robot_settle": before(f"{DELIVERIES}.settle", since=ROBOT, load="robot"),
    "after_robot_settle": after(f"{DELIVERIES}.settle", since=ROBOT, load="robot"),
    "before_death_settle": before(f"{LETTERS}._announce", load="doomed"),
    "after_death_settle": after(f"{LETTERS}._announce", load="doomed"),
    "after_admin_notice": after("bot.storage.inspection:SqlInspection.announce", load="doomed"),
}
_JOB = {
    "after_job_lease": after(f"{JOBS}.lease", since=INGESTED, is_elsewhere=True),
    "before_fetch": before(READ),
    "after_fetch": after(READ),
    "before_job_settle": before(f"{JOBS}.settle"),
    "after_job_settle": after(f"{JOBS}.settle"),
    # the source is asked how a build gets on whose end it never told
    "before_poll": before(READ, load="unheard"),
    "after_poll": after(READ, load="unheard"),
    "after_poll_settle": after(f"{JOBS}.settle", load="unheard"),
    "after_polled_event": after(INGESTED, since=READ, load="unheard", role="worker"),
    "after_polled_end": after(READ, since=LOAD, is_elsewhere=True, load="unheard"),
    "before_last_poll_settle": before(f"{JOBS}.settle", since=LOAD, is_elsewhere=True, load="unheard"),
}
_COMMAND = {
    "before_press": before(INBOX),
    "after_command_row": after(f"{COMMANDS}.add"),
    # a press is stored, Slack has no acknowledgement
    "before_ack": after(INBOX),
    "after_command_lease": after(f"{COMMANDS}.lease", since=INBOX, is_elsewhere=True),
    # a press is taken by a worker
    "after_command_claim": before(f"{WORKER}.carry_out"),
    "after_permission": after("bot.services.people:People.decide", since=f"{WORKER}.carry_out"),
    "before_effect": before(f"{COMMANDS}.claim_effect"),
    "after_effect": after(f"{COMMANDS}.claim_effect"),
    "after_start_audited": after(f"{AUDIT}.append"),
    "before_hold": before(f"{STEPS}.hold"),
    "after_hold": after(f"{STEPS}.hold"),
    "before_follow": before(f"{CONTROL}.follow"),
    "after_follow": after(f"{CONTROL}.follow"),
    "after_retried_event": after(INGEST, since=f"{CONTROL}.follow"),
    "after_done_audited": after(f"{AUDIT}.append", since=f"{CONTROL}.follow"),
    "after_command_settle": after(f"{COMMANDS}.settle", since=f"{CONTROL}.follow"),
    # the new build's number is known and noted, nobody was told
    "before_answer": before(ANSWER),
    # the person was told, the command is still open
    "after_answer": after(ANSWER),
    "before_close": before(f"{CLOSING}.close"),
    "after_close": after(f"{CLOSING}.close"),
    "before_group_line": before(GROUP_DOOR, load="group"),
    # a line in a DingTalk group is stored, the stream has no acknowledgement
    "after_group_line": after(GROUP_DOOR, load="group"),
    "after_group_press": after(GROUP_DOOR, call=2, load="group"),
    "before_group_answer": before(GROUP_ANSWER, load="group"),
    "after_group_answer": after(GROUP_ANSWER, load="group"),
    "before_wish": before(WISHES, load="wishes"),
    "after_wish_row": after("bot.storage.places:SqlSubscriptions.put", load="wishes"),
    "after_wish": after(WISHES, load="wishes"),
    "after_wish_answer": after(ANSWER, load="wishes"),
    "after_mute": after(WISHES, call=2, load="wishes"),
    "before_window": before(f"{WINDOW}.open", load="look"),
    # the window is open and says that it waits
    "after_window": after(f"{WINDOW}.open", load="look"),
    "before_filling": before(f"{WINDOW}.update", load="look"),
    "after_filling": after(f"{WINDOW}.update", load="look"),
}
_TRIGGER = {
    # Buildbot was never asked, though the intention is noted
    "before_trigger": before(f"{CONTROL}.retry"),
    # Buildbot has begun to rebuild, nobody has noted it
    "after_trigger": after(f"{CONTROL}.retry"),
    "before_run": before(f"{CONTROL}.run"),
    "after_run": after(f"{CONTROL}.run"),
    "after_run_found": after(f"{CONTROL}.find_run", first="after_trigger"),
    "after_forced_found": after(f"{CONTROL}.find_run", first="after_run"),
    # nobody knows whether Buildbot was asked: it is looked for, then the command begins anew
    "after_look_in_vain": after("bot.services.checking:Checking.step", first="before_trigger"),
    "before_new_beginning": before(f"{STEPS}.begin_anew", first="before_trigger"),
    "after_new_beginning": after(f"{STEPS}.begin_anew", first="before_run"),
    "after_group_trigger": after(f"{CONTROL}.retry", load="group"),
    "before_cancel": before(f"{CONTROL}.cancel", load="cancel"),
    # Buildbot was told to stop the build, nobody has looked whether it did
    "after_stop": after("integrations.buildbot.api:BuildbotApi.control", load="cancel"),
    "after_cancel": after(f"{CONTROL}.cancel", load="cancel"),
    "after_cancel_audited": after(f"{AUDIT}.append", since=f"{CONTROL}.cancel", load="cancel"),
    "after_cancel_recorded": after(f"{STEPS}.done", load="cancel"),
}
_WAY = (  # of a good version, of a bad one, and of what brings the good one back: each step as it is stored
    *("awaiting_approval", "queued", "deploying", "verifying", "succeeded"),
    *("bad_awaiting_approval", "bad_queued", "bad_deploying", "bad_verifying", "bad_failed", "bad_rolling_back"),
    *("rollback_deploying", "rollback_verifying", "rollback_succeeded", "bad_rolled_back"),
)
_DEPLOY = {
    "after_request_row": after(f"{DEPLOYMENTS}.add", load="deploy"),
    "after_request": after(f"{DESK}.step", load="deploy"),
    "after_confirmation": after(f"{DESK}.step", call=2, load="deploy"),
    "after_approval": after(f"{DESK}.step", call=3, load="deploy"),
    # the state is written and not committed
    **{f"in_{state}": after(RECORDS, call=1 + step, load="deploy") for step, state in enumerate(_WAY)},
    # the deployment is in that state, and nobody has done anything about it
    "before_start": before(f"{SHIPPER}._start", load="deploy"),
    "before_carrying": before(f"{RUNNING}.carry", load="deploy"),
    "before_checks": before(f"{SHIPPER}._verify", load="deploy"),
    "before_rollback_start": before(f"{SHIPPER}._start", call=3, load="deploy"),
    "before_rollback_checks": before(f"{SHIPPER}._verify", since=f"{ENDING}._roll_back", load="deploy"),
    "after_deployment_lease": after(f"{DEPLOYMENTS}.lease", since=f"{DESK}.step", is_elsewhere=True, load="deploy"),
    # the CI system was told to run it, nobody has noted that
    "before_order": before(f"{PIPELINE}.deploy", load="deploy"),
    "after_order": after(f"{PIPELINE}.deploy", load="deploy"),
    "before_rollback_order": before(f"{PIPELINE}.deploy", call=3, load="deploy"),
    "after_rollback_order": after(f"{PIPELINE}.deploy", call=3, load="deploy"),
    "after_order_found": after(f"{PIPELINE}.find", first="after_order", load="deploy"),
    "after_order_sought_in_vain": after(f"{PIPELINE}.find", first="before_order", load="deploy"),
    "after_order_noted": after(f"{RUNNING}._known", load="deploy"),
    "after_look": after(f"{PIPELINE}.look", load="deploy"),
    "after_run_ended": after(f"{STEPPING}.settle", load="deploy"),
    "after_measuring": after(CHECKS, load="deploy"),
    "after_bad_measuring": after(CHECKS, since=f"{PIPELINE}.deploy", call=3, load="deploy"),
    "before_roll_back": before(f"{ENDING}._roll_back", load="deploy"),
    "after_roll_back": after(f"{ENDING}._roll_back", load="deploy"),
    "after_lock_row": after(f"{ENDING}.lock", load="deploy"),
    "after_end": after(f"{ENDING}.end", call=2, load="deploy"),
    "after_restored": after(f"{ENDING}._restored", load="deploy"),
}
_MIGRATE = {
    "before_key": before("bot.storage.opening:make_key"),
    "after_key": after("bot.storage.opening:make_key"),
    "before_migration": before(f"{SCHEMA}:_run"),
    # some of the tables exist
    "during_migration": after(OPERATIONS, call=7),
    "before_migration_commit": after(f"{SCHEMA}:_run"),
    "after_migration_commit": after("bot.storage.opening:upgrade"),
}
_START = {
    "after_place_row": after(f"{PLACES}.ensure"),
    "after_resolve": after(f"{SLACK}.resolve"),
    "after_adopt": after(f"{PLACES}.adopt"),
}
_CLOCK = {
    # the trail's links are written, not committed
    "during_sealing": after(f"{AUDIT}.seal"),
    "after_sealing": after(f"{UPKEEP}.seal_audit", since=f"{AUDIT}.append", is_elsewhere=True),
    "after_overdue_search": after(f"{CARDS}.overdue_finals", since=LOAD, is_elsewhere=True, load="late"),
    "after_overdue_row": after(f"{CARDS}.open", since=OVERDUE, load="late"),
    "after_overdue": after(f"{UPKEEP}.tell_overdue", since=OVERDUE, load="late"),
    # there is something to prune
    "before_pruning": before(f"{PRUNER}.prune", since=LOAD, is_elsewhere=True, load="aged"),
    "after_sweeping_subjects": after(f"{SWEEPS}.subjects", since=LOAD, is_elsewhere=True, load="aged"),
    "before_sweeping_events": before(f"{SWEEPS}.events", since=LOAD, is_elsewhere=True, load="aged"),
    "after_sweeping_events": after(f"{SWEEPS}.events", since=LOAD, is_elsewhere=True, load="aged"),
    "after_sweeping_attempts": after(f"{SWEEPS}.attempts", since=LOAD, is_elsewhere=True, load="aged"),
    "after_sweeping_commands": after(f"{SWEEPS}.commands", since=LOAD, is_elsewhere=True, load="aged"),
    "after_pruning": after(f"{PRUNER}.prune", since=LOAD, is_elsewhere=True, load="aged"),
}
_BACKUP = {
    "before_copy": before(f"{COPY}:_copy"),
    # the copy is whole and has no name yet
    "after_copy": after(f"{COPY}:_copy"),
    "before_naming": before(f"{COPY}:_name"),
    "after_naming": after(f"{COPY}:_name"),
}
PHASES = {
    "ingest": _INGEST,
    "render": _RENDER,
    "send": _SEND,
    "settle": _SETTLE,
    "job": _JOB,
    "command": _COMMAND,
    "trigger": _TRIGGER,
    "deploy": _DEPLOY,
    "end": ENDS,
    "tracker": TRACKERS,
    "migrate": _MIGRATE,
    "start": _START,
    "clock": _CLOCK,
    "backup": _BACKUP,
}
POINTS = {name: point for points in PHASES.values() for name, point in points.items()}
BACKUP_POINTS = tuple(_BACKUP)
# Of these there is a whole process only: others neither make a key nor change the schema.
WHOLE_POINTS = tuple(_MIGRATE)


def point_of(name: str) -> Point:
    """The point of a name; `operation-7` is after the seventh change that `db upgrade` makes."""
    if name.startswith("operation-"):
        return after(OPERATIONS, call=int(name.removeprefix("operation-")))
    return POINTS[name]
