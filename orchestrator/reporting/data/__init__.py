"""What a report asks of the results."""
