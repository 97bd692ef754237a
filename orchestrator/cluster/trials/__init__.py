"""Training under Ray Tune: what trials do, which come first, when they stop."""
