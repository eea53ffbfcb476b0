"""The truth: galleries, subjects, references and photographs in SQLite or PostgreSQL, through SQLAlchemy."""
