"""The token of the metrics, and traffic for them to count."""

from tests.support.credentials import PASSWORD
from tests.support.service import Service

TOKEN = {"Authorization": "Bearer the-metrics-token"}


def send_traffic(service: Service) -> str:
    """Send some requests of every kind, each on its own connection, and return the metrics."""
    credentials = {"email": "metrics@example.com", "password": PASSWORD}
    _, session, _ = service.request("POST", "/api/v1/auth/register", credentials)
    bearer = {"Authorization": f"Bearer {session['accessToken']}"}
    for number in range(20):
        headers = {**bearer, "Idempotency-Key": str(number // 2)}
        _, task, _ = service.request("POST", "/api/v1/tasks", {"title": "x"}, headers)
        service.get(f"/api/v1/tasks/{task.get('id', 'x')}", **bearer)
    for _ in range(5):
        service.get("/api/v1/tasks")
        service.get("/api/v1/tasks", Authorization="Bearer forged")
        service.get("/nowhere/1")
        service.request("BREW", "/health")
    return service.text("/metrics", TOKEN)
