"""What a report says in sentences and small tables."""
