"""Forward migrations of the hub's database, run by Alembic."""
