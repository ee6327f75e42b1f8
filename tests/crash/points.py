"""Where the process dies: named points on an event's and a command's whole way, at the start, and in upkeep.

Whoever adds a step that stores or sends something adds a point before or after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

WEBHOOK = "integrations.buildbot.webhook:BuildbotWebhook.receive"
INGEST = "bot.services.ingest:Ingest.accept_in"
INGESTED = "bot.services.ingest:Ingest.accept"
EVENTS, SUBJECTS = "bot.storage.events:SqlEventLog.add", "bot.storage.subjects:SqlSubjects.put"
CARDS, DELIVERIES = "bot.storage.cards:SqlCards", "bot.storage.deliveries:SqlDeliveries"
PACING, NOISE = "bot.storage.pacing:SqlPacing", "bot.storage.noise:SqlNoise"
JOBS, COMMANDS = "bot.storage.work:SqlJobs", "bot.storage.work:SqlCommands"
COMMIT = "sqlalchemy:Connection.commit"
DELIVERER = "bot.services.delivery:Deliverer"
SLACK, DINGTALK = "integrations.slack.client:SlackMessenger", "integrations.dingtalk.client:DingTalkMessenger"
UPDATE = "slack_sdk.web:WebClient.chat_update"
CHANGE = "integrations.dingtalk.client:DingTalkMessenger._change_card"
READ = "integrations.buildbot.reader:BuildbotReader.fetch"
CONTROL = "integrations.buildbot.control:BuildbotControl"
INBOX, WORKER = "bot.services.commands:CommandInbox.accept", "bot.services.commands:CommandWorker"
STEPS = "bot.services.steps:StepLog"
ANSWER = "integrations.slack.people:SlackResponder.respond"
LETTERS = "bot.services.dead_letters:DeadLetters"
AUDIT, PLACES = "bot.storage.places:SqlAuditTrail", "bot.storage.places:SqlPlaces"
SCHEMA, OPERATIONS = "bot.storage.schema", "alembic.operations:Operations.invoke"
PRUNER, SWEEPS = "bot.services.retention:Pruner", "bot.storage.retention:SqlRetention"
UPKEEP, OVERDUE = "bot.services.upkeep:Upkeep", "bot.services.upkeep:attempts_slot"
POST = "slack_sdk.web:WebClient.chat_postMessage"
WISHES = "bot.services.wishes:Wishes.step"
WINDOW = "integrations.slack.people:SlackModals"
GROUP_DOOR, GROUP_ANSWER = "handlers.dingtalk:Door.take", "integrations.dingtalk.client:DingTalkResponder.respond"
ROBOT = "integrations.dingtalk.client:send_to_robot"
COPY = "bot.storage.backup"
RECORDS = "bot.services.deployments.records:Records.put"
SHIPPER, ENDING = "bot.services.deployments.engine:DeploymentWorker", "bot.services.deployments.ending:Ending"
PIPELINE = "bot.services.deployments.pipelines:BuildDeploys"
DEPLOYMENTS, CHECKS = "bot.storage.deployments:SqlDeployments", "bot.services.verification:Verification.measure_all"
DESK = "bot.services.deployments.desk:DeploymentDesk"
LOAD = "the load says so"


@dataclass(frozen=True, slots=True)
class Point:
    """Dead around the `call`-th call of `function` (`module:name`), counted once `since` was called, if it is given.

    `since` may be LOAD. `is_elsewhere`: of several processes it is another one that makes the call of `since`.
    `first` is a point to die at before: what is reached only in taking over from a dead process.
    `load` is what happens meanwhile; see `load.LOADS`.
    """

    function: str
    is_after: bool
    call: int = 1
    since: str = ""
    is_elsewhere: bool = False
    first: str = ""
    load: str = "usual"


def _before(function: str, call: int = 1, **of: Any) -> Point:
    return Point(function, False, call, **of)


def _after(function: str, call: int = 1, **of: Any) -> Point:
    return Point(function, True, call, **of)


_INGEST = {
    "before_reading_webhook": _before(WEBHOOK),
    "after_reading_webhook": _after(WEBHOOK),
    "after_event_row": _after(EVENTS),
    "after_subject_row": _after(SUBJECTS),
    "after_cards_opened": _after(f"{CARDS}.open"),
    "after_cards_wanted": _after(f"{CARDS}.want"),
    "after_job_row": _after(f"{JOBS}.add"),
    # an event's rows are written in the transaction, which is never committed
    "before_ingest_commit": _after(INGEST),
    "before_commit": _before(COMMIT, since=INGEST),
    "after_commit": _after(COMMIT, since=INGEST),
    "after_ring": _after("bot.services.signal:Signal.ring", since=INGEST),
    # the event is committed, the sender waits for its answer
    "after_ingest_commit": _after(INGESTED),
    "after_storm_row": _after(f"{NOISE}.put_storm", call=2, load="storm"),
    "after_folding": _after("bot.services.storms:_open_digest", load="storm"),
    "after_touching_digest": _after(f"{NOISE}.touch", load="storm"),
}
_RENDER = {
    "before_render": _before(f"{SLACK}.render"),
    "after_render": _after(f"{SLACK}.render"),
}
_SEND = {
    "after_lease": _after(f"{DELIVERIES}.lease", since=INGESTED, is_elsewhere=True),
    "after_due_cards": _after(f"{DELIVERIES}.due_cards", since=INGESTED, is_elsewhere=True),
    "after_begin": _after(f"{DELIVERIES}.begin"),
    "after_claim_commit": _after(f"{DELIVERER}.claim", since=f"{DELIVERIES}.begin"),
    # a destination and an attempt are taken, nothing is sent yet
    "after_claim": _before(f"{DELIVERER}.carry_out", since=f"{DELIVERIES}.begin"),
    "before_post": _before(f"{SLACK}.send"),
    # Slack has shown the card and said so, nobody has noted it
    "after_post": _after(f"{SLACK}.send"),
    # the same for what comes second, the final state or what stands in the card's thread
    "after_notice": _after(f"{SLACK}.send", call=2),
    "before_update": _before(UPDATE),
    "after_update": _after(UPDATE),
    "before_card": _before(f"{DINGTALK}.send"),
    # DingTalk has the card
    "after_card": _after(f"{DINGTALK}.send"),
    "before_card_change": _before(CHANGE),
    "after_card_change": _after(CHANGE),
    "after_search": _after(f"{SLACK}.find", first="after_post"),
    "after_search_in_vain": _after(f"{SLACK}.find", first="after_claim_commit"),
    "after_second_card": _after(f"{DINGTALK}.send", first="after_card"),
    "before_digest_post": _before(f"{SLACK}.send", since=f"{NOISE}.digest", load="storm"),
    "after_digest_post": _after(f"{SLACK}.send", since=f"{NOISE}.digest", load="storm"),
    "before_digest_change": _before(UPDATE, since=f"{NOISE}.digest", load="storm"),
    "after_digest_change": _after(UPDATE, since=f"{NOISE}.digest", load="storm"),
    "before_robot_post": _before(ROBOT, load="robot"),
    # the group has read it, nobody has noted it, and a robot cannot be asked: it will be said again
    "after_robot_post": _after(ROBOT, load="robot"),
    "after_robot_end": _after(ROBOT, call=2, load="robot"),
    "after_robot_post_again": _after(ROBOT, first="after_robot_post", load="robot"),
    # the card's final state is late, a remark in its thread says so
    "before_remark": _before(POST, since=OVERDUE, is_elsewhere=True, load="late"),
    "after_remark": _after(POST, since=OVERDUE, is_elsewhere=True, load="late"),
}
_SETTLE = {
    "before_settle": _before(f"{DELIVERIES}.settle"),
    "after_settle": _after(f"{DELIVERIES}.settle"),
    "after_release": _after(f"{PACING}.release", since=f"{DELIVERIES}.settle"),
    "after_settle_commit": _after(f"{DELIVERER}._settle"),
    "after_found": _after(f"{DELIVERIES}.settle", since=f"{SLACK}.find", first="after_post"),
    "before_digest_settle": _before(f"{DELIVERIES}.settle", since=f"{NOISE}.digest", load="storm"),
    "before_robot_settle": _before(f"{DELIVERIES}.settle", since=ROBOT, load="robot"),
    "after_robot_settle": _after(f"{DELIVERIES}.settle", since=ROBOT, load="robot"),
    "before_death_settle": _before(f"{LETTERS}._announce", load="doomed"),
    "after_death_settle": _after(f"{LETTERS}._announce", load="doomed"),
    "after_admin_notice": _after("bot.storage.inspection:SqlInspection.announce", load="doomed"),
}
_JOB = {
    "after_job_lease": _after(f"{JOBS}.lease", since=INGESTED, is_elsewhere=True),
    "before_fetch": _before(READ),
    "after_fetch": _after(READ),
    "before_job_settle": _before(f"{JOBS}.settle"),
    "after_job_settle": _after(f"{JOBS}.settle"),
    # the source is asked how a build gets on whose end it never told
    "before_poll": _before(READ, load="unheard"),
    "after_poll": _after(READ, load="unheard"),
    "after_poll_settle": _after(f"{JOBS}.settle", load="unheard"),
    "after_polled_event": _after(INGESTED, since=READ, load="unheard"),
    "after_polled_end": _after(READ, since=LOAD, is_elsewhere=True, load="unheard"),
    "before_last_poll_settle": _before(f"{JOBS}.settle", since=LOAD, is_elsewhere=True, load="unheard"),
}
_COMMAND = {
    "before_press": _before(INBOX),
    "after_command_row": _after(f"{COMMANDS}.add"),
    # a press is stored, Slack has no acknowledgement
    "before_ack": _after(INBOX),
    "after_command_lease": _after(f"{COMMANDS}.lease", since=INBOX, is_elsewhere=True),
    # a press is taken by a worker
    "after_command_claim": _before(f"{WORKER}.carry_out"),
    "after_permission": _after("bot.services.people:People.decide", since=f"{WORKER}.carry_out"),
    "before_effect": _before(f"{COMMANDS}.claim_effect"),
    "after_effect": _after(f"{COMMANDS}.claim_effect"),
    "after_start_audited": _after(f"{AUDIT}.append"),
    "before_hold": _before(f"{STEPS}.hold"),
    "after_hold": _after(f"{STEPS}.hold"),
    "before_follow": _before(f"{CONTROL}.follow"),
    "after_follow": _after(f"{CONTROL}.follow"),
    "after_retried_event": _after(INGEST, since=f"{CONTROL}.follow"),
    "after_done_audited": _after(f"{AUDIT}.append", since=f"{CONTROL}.follow"),
    "after_command_settle": _after(f"{COMMANDS}.settle", since=f"{CONTROL}.follow"),
    # the new build's number is known and noted, nobody was told
    "before_answer": _before(ANSWER),
    # the person was told, the command is still open
    "after_answer": _after(ANSWER),
    "before_close": _before(f"{WORKER}._close"),
    "after_close": _after(f"{WORKER}._close"),
    "before_group_line": _before(GROUP_DOOR, load="group"),
    # a line in a DingTalk group is stored, the stream has no acknowledgement
    "after_group_line": _after(GROUP_DOOR, load="group"),
    "after_group_press": _after(GROUP_DOOR, call=2, load="group"),
    "before_group_answer": _before(GROUP_ANSWER, load="group"),
    "after_group_answer": _after(GROUP_ANSWER, load="group"),
    "before_wish": _before(WISHES, load="wishes"),
    "after_wish_row": _after("bot.storage.places:SqlSubscriptions.put", load="wishes"),
    "after_wish": _after(WISHES, load="wishes"),
    "after_wish_answer": _after(ANSWER, load="wishes"),
    "after_mute": _after(WISHES, call=2, load="wishes"),
    "before_window": _before(f"{WINDOW}.open", load="look"),
    # the window is open and says that it waits
    "after_window": _after(f"{WINDOW}.open", load="look"),
    "before_filling": _before(f"{WINDOW}.update", load="look"),
    "after_filling": _after(f"{WINDOW}.update", load="look"),
}
_TRIGGER = {
    # Buildbot was never asked, though the intention is noted
    "before_trigger": _before(f"{CONTROL}.retry"),
    # Buildbot has begun to rebuild, nobody has noted it
    "after_trigger": _after(f"{CONTROL}.retry"),
    "before_run": _before(f"{CONTROL}.run"),
    "after_run": _after(f"{CONTROL}.run"),
    "after_run_found": _after(f"{CONTROL}.find_run", first="after_trigger"),
    "after_forced_found": _after(f"{CONTROL}.find_run", first="after_run"),
    # nobody knows whether Buildbot was asked: it is looked for, then the command begins anew
    "after_look_in_vain": _after("bot.services.checking:Checking.step", first="before_trigger"),
    "before_new_beginning": _before(f"{STEPS}.begin_anew", first="before_trigger"),
    "after_new_beginning": _after(f"{STEPS}.begin_anew", first="before_run"),
    "after_group_trigger": _after(f"{CONTROL}.retry", load="group"),
    "before_cancel": _before(f"{CONTROL}.cancel", load="cancel"),
    # Buildbot was told to stop the build, nobody has looked whether it did
    "after_stop": _after("integrations.buildbot.api:BuildbotApi.control", load="cancel"),
    "after_cancel": _after(f"{CONTROL}.cancel", load="cancel"),
    "after_cancel_audited": _after(f"{AUDIT}.append", since=f"{CONTROL}.cancel", load="cancel"),
    "after_cancel_recorded": _after(f"{STEPS}.done", load="cancel"),
}
_WAY = (  # of a good version, of a bad one, and of what brings the good one back: each step as it is stored
    *("awaiting_approval", "queued", "deploying", "verifying", "succeeded"),
    *("bad_awaiting_approval", "bad_queued", "bad_deploying", "bad_verifying", "bad_failed", "bad_rolling_back"),
    *("rollback_deploying", "rollback_verifying", "rollback_succeeded", "bad_rolled_back"),
)
_DEPLOY = {
    "after_request_row": _after(f"{DEPLOYMENTS}.add", load="deploy"),
    "after_request": _after(f"{DESK}.step", load="deploy"),
    "after_confirmation": _after(f"{DESK}.step", call=2, load="deploy"),
    "after_approval": _after(f"{DESK}.step", call=3, load="deploy"),
    # the state is written and not committed
    **{f"in_{state}": _after(RECORDS, call=1 + step, load="deploy") for step, state in enumerate(_WAY)},
    # the deployment is in that state, and nobody has done anything about it
    "before_start": _before(f"{SHIPPER}._start", load="deploy"),
    "before_carrying": _before(f"{SHIPPER}._carry", load="deploy"),
    "before_checks": _before(f"{SHIPPER}._verify", load="deploy"),
    "before_rollback_start": _before(f"{SHIPPER}._start", call=3, load="deploy"),
    "before_rollback_checks": _before(f"{SHIPPER}._verify", since=f"{ENDING}._roll_back", load="deploy"),
    "after_deployment_lease": _after(f"{DEPLOYMENTS}.lease", since=f"{DESK}.step", is_elsewhere=True, load="deploy"),
    # the CI system was told to run it, nobody has noted that
    "before_order": _before(f"{PIPELINE}.deploy", load="deploy"),
    "after_order": _after(f"{PIPELINE}.deploy", load="deploy"),
    "before_rollback_order": _before(f"{PIPELINE}.deploy", call=3, load="deploy"),
    "after_rollback_order": _after(f"{PIPELINE}.deploy", call=3, load="deploy"),
    "after_order_found": _after(f"{PIPELINE}.find", first="after_order", load="deploy"),
    "after_order_sought_in_vain": _after(f"{PIPELINE}.find", first="before_order", load="deploy"),
    "after_order_noted": _after(f"{SHIPPER}._known", load="deploy"),
    "after_look": _after(f"{PIPELINE}.look", load="deploy"),
    "after_run_ended": _after(f"{SHIPPER}._settle", load="deploy"),
    "after_measuring": _after(CHECKS, load="deploy"),
    "after_bad_measuring": _after(CHECKS, since=f"{PIPELINE}.deploy", call=3, load="deploy"),
    "before_roll_back": _before(f"{ENDING}._roll_back", load="deploy"),
    "after_roll_back": _after(f"{ENDING}._roll_back", load="deploy"),
    "after_lock_row": _after(f"{ENDING}.lock", load="deploy"),
    "after_end": _after(f"{ENDING}.end", call=2, load="deploy"),
    "after_restored": _after(f"{ENDING}._restored", load="deploy"),
}
_MIGRATE = {
    "before_key": _before("bot.storage.opening:make_key"),
    "after_key": _after("bot.storage.opening:make_key"),
    "before_migration": _before(f"{SCHEMA}:_run"),
    # some of the tables exist
    "during_migration": _after(OPERATIONS, call=7),
    "before_migration_commit": _after(f"{SCHEMA}:_run"),
    "after_migration_commit": _after("bot.storage.opening:upgrade"),
}
_START = {
    "after_place_row": _after(f"{PLACES}.ensure"),
    "after_resolve": _after(f"{SLACK}.resolve"),
    "after_adopt": _after(f"{PLACES}.adopt"),
}
_CLOCK = {
    # the trail's links are written, not committed
    "during_sealing": _after(f"{AUDIT}.seal"),
    "after_sealing": _after(f"{UPKEEP}.seal_audit", since=f"{AUDIT}.append", is_elsewhere=True),
    "after_overdue_search": _after(f"{CARDS}.overdue_finals", since=LOAD, is_elsewhere=True, load="late"),
    "after_overdue_row": _after(f"{CARDS}.open", since=OVERDUE, load="late"),
    "after_overdue": _after(f"{UPKEEP}.tell_overdue", since=OVERDUE, load="late"),
    # there is something to prune
    "before_pruning": _before(f"{PRUNER}.prune", since=LOAD, is_elsewhere=True, load="aged"),
    "after_sweeping_subjects": _after(f"{SWEEPS}.subjects", since=LOAD, is_elsewhere=True, load="aged"),
    "before_sweeping_events": _before(f"{SWEEPS}.events", since=LOAD, is_elsewhere=True, load="aged"),
    "after_sweeping_events": _after(f"{SWEEPS}.events", since=LOAD, is_elsewhere=True, load="aged"),
    "after_sweeping_attempts": _after(f"{SWEEPS}.attempts", since=LOAD, is_elsewhere=True, load="aged"),
    "after_sweeping_commands": _after(f"{SWEEPS}.commands", since=LOAD, is_elsewhere=True, load="aged"),
    "after_pruning": _after(f"{PRUNER}.prune", since=LOAD, is_elsewhere=True, load="aged"),
}
_BACKUP = {
    "before_copy": _before(f"{COPY}:_copy"),
    # the copy is whole and has no name yet
    "after_copy": _after(f"{COPY}:_copy"),
    "before_naming": _before(f"{COPY}:_name"),
    "after_naming": _after(f"{COPY}:_name"),
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
        return _after(OPERATIONS, call=int(name.removeprefix("operation-")))
    return POINTS[name]
