"""The tests: through Flask's test client, with real processes, and drills."""

import pytest

# Outside of test modules pytest explains a failed assert only on request.
pytest.register_assert_rewrite("tests.support")
