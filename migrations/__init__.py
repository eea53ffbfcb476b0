"""Alembic's scripts: the schema's history. Run by facesvc.storage.migrate."""
