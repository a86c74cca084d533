"""Results and side files, read and written; the regression database: SQLite beside them, or PostgreSQL."""
