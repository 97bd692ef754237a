"""Trust checks: tests of the measures' assumptions before a network is trained and measured."""
