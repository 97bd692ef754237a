"""DuckDB over results folders, and what is read with it."""
