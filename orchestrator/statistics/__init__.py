"""What follows: estimates with intervals, and verdicts on claims."""
