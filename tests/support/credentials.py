"""The signing secret and the password that the tests use."""

SECRET = "a-secret-for-tests-of-more-than-32-bytes"
PASSWORD = "correct horse battery"
