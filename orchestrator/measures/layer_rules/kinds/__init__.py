"""One file per kind of layer; each registers its rules."""
