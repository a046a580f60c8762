"""The tests: those through Flask's test client, those with real processes, and the drills."""

import pytest

# pytest explains a failed assert outside of test modules only if the module is registered.
pytest.register_assert_rewrite("tests.support")
