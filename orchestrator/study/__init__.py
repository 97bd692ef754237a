"""What is asked: the typed study, its file and its grid of trials."""
