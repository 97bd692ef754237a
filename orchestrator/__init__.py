"""Study orchestrator: grids of networks, measures on their checkpoints, and evidence."""
