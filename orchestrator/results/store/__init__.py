"""Files and locks, on a disk or on an object store."""
