"""Checks of a network before it is trained and measured: what formulas take for granted."""
