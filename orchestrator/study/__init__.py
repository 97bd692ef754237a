"""The definition of a study: its types, its file and its grid of trials."""
