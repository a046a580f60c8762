"""The secret and the password of the tests."""

SECRET = "a-secret-for-tests-of-more-than-32-bytes"
PASSWORD = "correct horse battery"
