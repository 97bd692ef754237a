"""How two quantities go together."""
