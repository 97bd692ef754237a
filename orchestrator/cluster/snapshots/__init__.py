"""Work on snapshots: measuring, checking, auditing and comparing."""
