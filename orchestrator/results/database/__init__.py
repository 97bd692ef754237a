"""DuckDB over results folders, and the queries that use it."""
