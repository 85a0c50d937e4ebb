"""The first schema."""

import time

from alembic import op

from noticesvc.storage import partitions
from noticesvc.storage.tables import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table; on PostgreSQL the growing ones partitioned by month."""
    connection = op.get_bind()
    partitions.create_all(connection, metadata, time.time_ns() // 1000)
