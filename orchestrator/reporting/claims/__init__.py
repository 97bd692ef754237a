"""The claims of a study, judged on its results."""
