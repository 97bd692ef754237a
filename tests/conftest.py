"""What holds for the whole suite: the same tests find the same each time."""

import os

from hypothesis import settings

# A suite that draws other cases each time fails on whoever comes next, not on who broke it.
# HYPOTHESIS_PROFILE=explore looks further, for as long as one likes.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
