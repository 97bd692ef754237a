"""Training under Ray Tune: execution, order and stopping of trials."""
