"""Networks compared where they were equally far trained."""
