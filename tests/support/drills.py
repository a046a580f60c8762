"""The length of the drills."""

import os

# CI runs the drills in their short form; they prove the same promises.
SHORT = os.environ.get("DRILLS") == "short"
