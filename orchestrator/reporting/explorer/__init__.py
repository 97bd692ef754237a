"""The report's explorer: what a reader can plot, hold fixed and correlate without Python."""
