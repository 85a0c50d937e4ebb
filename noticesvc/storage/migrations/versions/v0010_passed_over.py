"""Which providers an attempt passed over, and why.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; an old version of the program leaves it empty."""
    op.add_column("attempt", sa.Column("passed_over", sa.Text(), nullable=True))
