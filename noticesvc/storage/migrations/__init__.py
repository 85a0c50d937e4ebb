"""Schema migrations (Alembic), run by `noticesvc init` and checked at every start; see storage.migrate."""
