"""The length of a run of the drills."""

import os

# A short run is what CI has time for; the promises are the same.
SHORT = os.environ.get("DRILLS") == "short"
