"""HTML pages: the report of a study and the comparison of several studies."""
