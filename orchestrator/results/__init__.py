"""What is kept: Parquet parts, and DuckDB over them."""
