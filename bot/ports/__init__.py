"""What services ask of the outside; integrations and storage implement these Protocols."""

from bot.ports.inspection import AttemptRecord, DeliveryQuery, DeliveryRecord
from bot.ports.places import Subscription
from bot.ports.platforms import Calls, Directory, Messenger, Modals, PersonFacts, Responder, nothing_more
from bot.ports.sources import (
    Arrival,
    Begun,
    Between,
    BuildControl,
    BuildHistory,
    BuildReader,
    Commit,
    Received,
    Triggered,
    WebhookSource,
)
from bot.ports.storage import (
    UNREADABLE,
    CardRecord,
    DestinationLease,
    Settlement,
    Slot,
    SubjectRecord,
    Transaction,
)
from bot.ports.store import Store, Writing
from bot.ports.system import Clock, Ids
from bot.ports.work import CommandRecord, JobRecord

__all__ = [
    "UNREADABLE",
    "Arrival",
    "AttemptRecord",
    "Begun",
    "Between",
    "BuildControl",
    "BuildHistory",
    "BuildReader",
    "Calls",
    "CardRecord",
    "Clock",
    "CommandRecord",
    "Commit",
    "DeliveryQuery",
    "DeliveryRecord",
    "DestinationLease",
    "Directory",
    "Ids",
    "JobRecord",
    "Messenger",
    "Modals",
    "PersonFacts",
    "Received",
    "Responder",
    "Settlement",
    "Slot",
    "Store",
    "SubjectRecord",
    "Subscription",
    "Transaction",
    "Triggered",
    "WebhookSource",
    "Writing",
    "nothing_more",
]
