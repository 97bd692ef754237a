"""Margins: distances of examples from being classified differently."""
