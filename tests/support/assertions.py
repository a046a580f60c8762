"""Assertions on the answers of the service."""

from werkzeug.test import TestResponse


def assert_error(response: TestResponse, status: int, code: str, *fields: str) -> None:
    """Assert status and code of an error, and the fields that its details name."""
    assert response.status_code == status, response.text
    error = response.json["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["correlationId"] == response.headers["X-Correlation-ID"]
    assert [detail["field"] for detail in error.get("details", [])] == list(fields)
    if status == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer ")
