"""What learns: networks built from the options of a study file."""
