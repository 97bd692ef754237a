"""Judging the claims of a study on its results."""
