"""Association between two quantities."""
