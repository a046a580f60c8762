"""The length of the drills."""

import os

# CI runs short drills, which check the same promises.
SHORT = os.environ.get("DRILLS") == "short"
