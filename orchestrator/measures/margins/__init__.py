"""How far examples are from being classified otherwise."""
