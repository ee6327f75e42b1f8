"""Where the process dies: named points on an event's and a command's whole way, at the start, and in upkeep."""

from __future__ import annotations

from dataclasses import dataclass

WEBHOOK = "integrations.buildbot.webhook:BuildbotWebhook.receive"
INGEST = "bot.services.ingest:Ingest.accept_in"
INGESTED = "bot.services.ingest:Ingest.accept"
EVENTS, SUBJECTS = "bot.storage.subjects:SqlEventLog.add", "bot.storage.subjects:SqlSubjects.put"
CARDS, DELIVERIES = "bot.storage.cards:SqlCards", "bot.storage.cards:SqlDeliveries"
PACING, NOISE = "bot.storage.cards:SqlPacing", "bot.storage.noise:SqlNoise"
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
SCHEMA, TABLES = "bot.storage.schema", "alembic.operations:Operations.create_table"
PRUNER, SWEEPS = "bot.services.retention:Pruner", "bot.storage.retention:SqlRetention"


@dataclass(frozen=True, slots=True)
class Point:
    """Dead around the `call`-th call of `function` (`module:name`), counted once `since` was called, if it is given.

    `first` is a point to die at before: what is reached only in taking over from a dead process.
    `load` is what happens meanwhile; see `load.LOADS`.
    """

    function: str
    is_after: bool
    call: int = 1
    since: str = ""
    first: str = ""
    load: str = "usual"


def _before(function: str, call: int = 1, *, since: str = "", first: str = "", load: str = "usual") -> Point:
    return Point(function, False, call, since, first, load)


def _after(function: str, call: int = 1, *, since: str = "", first: str = "", load: str = "usual") -> Point:
    return Point(function, True, call, since, first, load)


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
_DELIVERY = {
    "after_lease": _after(f"{DELIVERIES}.lease", since=INGESTED),
    "after_due_cards": _after(f"{DELIVERIES}.due_cards", since=INGESTED),
    "after_begin": _after(f"{DELIVERIES}.begin"),
    "after_claim_commit": _after(f"{DELIVERER}.claim", since=f"{DELIVERIES}.begin"),
    # a destination and an attempt are taken, nothing is sent yet
    "after_claim": _before(f"{DELIVERER}.carry_out", since=f"{DELIVERIES}.begin"),
    "before_render": _before(f"{SLACK}.render"),
    "after_render": _after(f"{SLACK}.render"),
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
    "before_settle": _before(f"{DELIVERIES}.settle"),
    "after_settle": _after(f"{DELIVERIES}.settle"),
    "after_release": _after(f"{PACING}.release", since=f"{DELIVERIES}.settle"),
    "after_settle_commit": _after(f"{DELIVERER}._settle"),
    "after_search": _after(f"{SLACK}.find", first="after_post"),
    "after_search_in_vain": _after(f"{SLACK}.find", first="after_claim_commit"),
    "after_found": _after(f"{DELIVERIES}.settle", since=f"{SLACK}.find", first="after_post"),
    "after_second_card": _after(f"{DINGTALK}.send", first="after_card"),
    "before_death_settle": _before(f"{LETTERS}._announce", load="doomed"),
    "after_death_settle": _after(f"{LETTERS}._announce", load="doomed"),
    "after_admin_notice": _after("bot.storage.inspection:SqlInspection.announce", load="doomed"),
}
_JOBS = {
    "after_job_lease": _after(f"{JOBS}.lease", since=INGESTED),
    "before_fetch": _before(READ),
    "after_fetch": _after(READ),
    "before_job_settle": _before(f"{JOBS}.settle"),
    "after_job_settle": _after(f"{JOBS}.settle"),
}
_COMMAND = {
    "before_press": _before(INBOX),
    "after_command_row": _after(f"{COMMANDS}.add"),
    # a press is stored, Slack has no acknowledgement
    "before_ack": _after(INBOX),
    "after_command_lease": _after(f"{COMMANDS}.lease", since=INBOX),
    # a press is taken by a worker
    "after_command_claim": _before(f"{WORKER}.carry_out"),
    "after_permission": _after("bot.services.people:People.decide", since=f"{WORKER}.carry_out"),
    "before_effect": _before(f"{COMMANDS}.claim_effect"),
    "after_effect": _after(f"{COMMANDS}.claim_effect"),
    "after_start_audited": _after(f"{AUDIT}.append"),
    # Buildbot was never asked, though the intention is noted
    "before_trigger": _before(f"{CONTROL}.retry"),
    # Buildbot has begun to rebuild, nobody has noted it
    "after_trigger": _after(f"{CONTROL}.retry"),
    "before_run": _before(f"{CONTROL}.run"),
    "after_run": _after(f"{CONTROL}.run"),
    "after_run_found": _after(f"{CONTROL}.find_run", first="after_trigger"),
    "after_forced_found": _after(f"{CONTROL}.find_run", first="after_run"),
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
}
_START = {
    "before_key": _before("bot.storage.opening:make_key"),
    "after_key": _after("bot.storage.opening:make_key"),
    "before_migration": _before(f"{SCHEMA}:_run"),
    # some of the tables exist
    "during_migration": _after(TABLES, call=4),
    "before_migration_commit": _after(f"{SCHEMA}:_run"),
    "after_migration_commit": _after("bot.storage.opening:upgrade"),
    "after_place_row": _after(f"{PLACES}.ensure"),
    "after_resolve": _after(f"{SLACK}.resolve"),
    "after_adopt": _after(f"{PLACES}.adopt"),
}
_CLOCK = {
    # the trail's links are written, not committed
    "during_sealing": _after(f"{AUDIT}.seal"),
    "after_sealing": _after("bot.services.upkeep:Upkeep.seal_audit", since=f"{AUDIT}.append"),
    "before_pruning": _before(f"{PRUNER}.prune"),
    "after_sweeping_subjects": _after(f"{SWEEPS}.subjects"),
    "after_sweeping_events": _after(f"{SWEEPS}.events"),
    "after_sweeping_attempts": _after(f"{SWEEPS}.attempts"),
    "after_sweeping_commands": _after(f"{SWEEPS}.commands"),
    "after_pruning": _after(f"{PRUNER}.prune"),
}
POINTS = {**_INGEST, **_DELIVERY, **_JOBS, **_COMMAND, **_START, **_CLOCK}
