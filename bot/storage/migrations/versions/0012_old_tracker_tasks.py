"""Work with trackers that may be dropped is found by its age, without looking at what is kept for good."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add an index of which older processes need not know."""
    may_go = sa.text("NOT is_open AND kind NOT IN ('version_released', 'origin')")
    op.create_index("tracker_tasks_old", "tracker_tasks", ["created_at"], sqlite_where=may_go, postgresql_where=may_go)
