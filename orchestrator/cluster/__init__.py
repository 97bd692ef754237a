"""Where it runs: the only room that knows Ray."""
