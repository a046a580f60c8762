"""No stranger gets at data: by generated requests, or on any route with any kind of token."""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import jwt

from taskflow import create_app
from taskflow.config import load_config
from tests.support.credentials import PASSWORD, SECRET
from tests.support.drills import SHORT
from tests.support.postgres import Postgres
from tests.support.service import Service
from tests.support.wire import Reply, ask, request

METRICS_TOKEN = "metrics-token-of-the-drill"
AUTH, TASKS = "/api/v1/auth", "/api/v1/tasks"
SESSION, TASK = f"{AUTH}/sessions/{{session_id}}", f"{TASKS}/{{task_id}}"

# Schemathesis generates requests from the document and checks the answers against it.

# Statuses that a request may get although the document allows it, because JSON Schema can't express
# the rule.
REFUSALS = [
    (f"POST {AUTH}/register", [400], "common passwords; addresses that mail could not go to"),
    (f"PUT {AUTH}/password", [400], "common passwords"),
    (f"POST {AUTH}/password/reset", [400, 401], "common passwords; a token that is not ours"),
    (f"PUT {AUTH}/email", [400], "addresses that mail could not go to"),
    (f"GET {TASKS}", [400], "a cursor that is not ours; a q without a letter or a digit"),
    (f"POST {TASKS}", [400, 422], "the 52nd of May; an Idempotency-Key that came before"),
    (f"GET {TASKS}/changes", [410], "a token that is not ours"),
    (f"POST {TASKS}/batch", [400, 412, 422], "no item; an id twice; a version; a key used before"),
    (f"PUT {TASK}", [400], "the 52nd of May"),
    (f"PATCH {TASK}", [400], "the 52nd of May"),
]
ACCEPTED: list[Any] = ["2xx", "3xx", 401, 403, 404, 409, 429, "5xx"]  # Schemathesis's own list
REJECTED: list[Any] = [400, 401, 403, 404, 406, 422, 428, "5xx"]  # Schemathesis's own list
# Checks that report correct answers as wrong.
EXCLUDED = [
    (f"POST {AUTH}/refresh", "ignored_auth", "an empty cookie beside a good bearer is none"),
    (f"POST {AUTH}/logout", "ignored_auth", "an empty cookie beside a good bearer is none"),
]
# The coverage phase can't generate an ETag, and sends 0.
TAGGED = (TASKS, TASK, f"{TASKS}/changes", f"{TASKS}/summary")
PARAMETERS = {"header.If-Match": "*", "header.If-None-Match": '"0"'}


class Account:
    """A user, and the tokens of a session of its own."""

    def __init__(self, service: Service, email: str | None = None) -> None:
        self.email = email or f"{uuid.uuid4()}@example.com"
        conn = HTTPConnection("127.0.0.1", service.port, timeout=30)
        try:
            body = json.dumps({"email": self.email, "password": PASSWORD})
            path = f"{AUTH}/login" if email else f"{AUTH}/register"
            conn.request("POST", path, body, {"Content-Type": "application/json"})
            response = conn.getresponse()
            self.access = json.load(response)["accessToken"]
            cookies = "; ".join(response.headers.get_all("Set-Cookie", []))
        finally:
            conn.close()
        self.refresh = re.findall("__Secure-refresh_token=([^;]+)", cookies)[0]
        self.claims = jwt.decode(self.access, options={"verify_signature": False})


def config(headers: dict[str, str]) -> str:
    """Return schemathesis.toml, with the headers of operations and the checks to leave out.

    `headers` are the Authorization headers by operation; `*` stands for all other operations.
    """
    lines = ["auth.auto-signup = false"]
    lines += [f'headers = {{ Authorization = "{headers["*"]}" }}'] if headers else []
    for path, header in headers.items():
        if path != "*":
            lines += ["[[operations]]", f'include-path = "{path}"']
            lines += [f'headers = {{ Authorization = "{header}" }}']
    for name, statuses, _why in REFUSALS:
        lines += ["[[operations]]", f'include-name = "{name}"']
        lines += [f"checks.positive_data_acceptance.expected-statuses = {ACCEPTED + statuses}"]
    for name, check, _why in EXCLUDED:
        lines += ["[[operations]]", f'include-name = "{name}"', f"checks.{check}.enabled = false"]
    lines += ["[[operations]]", f'include-path = "{TASKS}/changes"']
    lines += [f"checks.negative_data_rejection.expected-statuses = {[*REJECTED, 410]}"]
    for path in TAGGED:
        lines += ["[[operations]]", f'include-path = "{path}"', "[operations.parameters]"]
        lines += [f'"{name}" = {json.dumps(value)}' for name, value in PARAMETERS.items()]
    return "\n".join(lines)


def explore(service: Service, folder: Path, examples: int, headers: dict[str, str]) -> Any:
    """Run schemathesis with a seed, assert that it found nothing, and return its report."""
    (folder / "config.toml").write_text(config(headers))
    done = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis", "--config-file", folder / "config.toml",
            "run", f"http://127.0.0.1:{service.port}/openapi.json", "--seed=1", "--no-color",
            f"--max-examples={examples}", "--generation-database=none", "--continue-on-failure",
            "--report=json", f"--report-json-path={folder / 'report.json'}",
        ],
        cwd=folder, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    return json.loads((folder / "report.json").read_text())


def figures_of(report: Any) -> dict[str, Any]:
    """Return the figures of a report."""
    return {
        "operations": report["operations"]["tested"],
        "requests": report["test_cases"]["generated"],
        "took": float(report["running_time"]),
    }


def test_the_openapi_document_holds_for_a_user(
    postgres: Postgres, serve: Callable[..., Service], figures: Any, tmp_path: Path
) -> None:
    service = serve(postgres.url(), METRICS_TOKEN=METRICS_TOKEN, MAX_TASKS_PER_USER="1000000")
    user, leaving, staying, revoking = (Account(service) for _ in range(4))
    headers = {
        "*": f"Bearer {user.access}",
        f"{AUTH}/logout": f"Bearer {leaving.access}",
        f"{AUTH}/refresh": f"Bearer {staying.refresh}",
        f"{AUTH}/sessions": f"Bearer {revoking.access}",
        SESSION: f"Bearer {revoking.access}",
        "/metrics": f"Bearer {METRICS_TOKEN}",
    }
    figures(**figures_of(explore(service, tmp_path, 8 if SHORT else 100, headers)))
    # No request ended the session of the user.
    assert service.get(f"{AUTH}/me", Authorization=headers["*"])[0] == 200


def test_the_openapi_document_holds_without_a_token(
    postgres: Postgres, serve: Callable[..., Service], figures: Any, tmp_path: Path
) -> None:
    service = serve(postgres.url(), METRICS_TOKEN=METRICS_TOKEN)
    figures(**figures_of(explore(service, tmp_path, 4 if SHORT else 50, {})))


# Tokens that no protected route accepts, with the code of the refusal. The table below has the
# answers to another user, and to a token of a revoked session.

BAD_TOKENS = {
    "nobody": "auth_missing",
    "expired": "auth_expired",
    "wrong key": "auth_invalid",
    "wrong audience": "auth_invalid",
    "wrong issuer": "auth_invalid",
    "refresh token": "auth_invalid",
    "alg none": "auth_invalid",
    "another algorithm": "auth_invalid",
    "never expires": "auth_invalid",
    "signature cut off": "auth_invalid",
}
NEW = {"email": "", "password": PASSWORD}  # each request gets its own email
WRONG = {"password": "not the password"}
CHANGE = {"currentPassword": "not the password", "newPassword": "another good password"}

# Method, path and body; the answers to the owner and to another user. A token of a session that has
# ended is `auth_revoked` everywhere.
PROTECTED: list[tuple[str, str, Any, Any, Any]] = [
    ("GET", TASKS, None, 200, 200),
    ("POST", TASKS, {"title": "Sent"}, 201, 201),
    ("POST", f"{TASKS}/batch", {"create": [{"title": "Sent"}]}, 200, 200),
    ("GET", f"{TASKS}/changes", None, 200, 200),
    ("GET", f"{TASKS}/summary", None, 200, 200),
    ("GET", TASK, None, 200, "task_not_found"),
    ("PUT", TASK, {"title": "Sent"}, 200, "task_not_found"),
    ("PATCH", TASK, {"title": "Sent"}, 200, "task_not_found"),
    ("DELETE", TASK, None, 204, "task_not_found"),
    ("POST", f"{TASK}/restore", None, 200, "task_not_found"),
    ("GET", f"{AUTH}/me", None, 200, 200),
    ("DELETE", f"{AUTH}/me", WRONG, *["invalid_credentials"] * 2),
    ("PUT", f"{AUTH}/email", {"email": "a@b.example", **WRONG}, *["invalid_credentials"] * 2),
    ("PUT", f"{AUTH}/password", CHANGE, *["invalid_credentials"] * 2),
    ("GET", f"{AUTH}/sessions", None, 200, 200),
    ("DELETE", SESSION, None, 204, "not_found"),
]
# Routes that ignore tokens and answer every caller alike.
RESET = {"token": "not a token", "newPassword": "another good password"}
PUBLIC: list[tuple[str, str, Any, Any]] = [
    ("GET", "/health", None, 200),
    ("GET", "/health/live", None, 200),
    ("GET", "/openapi.json", None, 200),
    ("GET", "/docs", None, 200),
    ("GET", "/docs/{name}", None, 200),
    ("POST", f"{AUTH}/register", NEW, 201),
    ("POST", f"{AUTH}/login", None, 200),
    ("POST", f"{AUTH}/password/reset", RESET, "auth_invalid"),
]
# Routes with tokens of their own kind. Any token that is not listed is `auth_invalid`.
OWN_TOKENS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/metrics", {"nobody": "auth_missing"}),
    ("POST", f"{AUTH}/refresh", {"nobody": "auth_missing", "refresh token": 200}),
    (
        "POST",
        f"{AUTH}/logout",
        {"nobody": "auth_missing", "expired": "auth_expired", "refresh token": 204, "owner": 204,
         "another user": 204, "revoked session": 204},
    ),
]  # fmt: skip


class Cells:
    """Every route of the service, with every kind of token."""

    def __init__(self, service: Service) -> None:
        self.service, self.port = service, service.port
        self.owner, other = Account(service), Account(service)
        revoked = Account(service, self.owner.email)
        self.keeper = Account(service, self.owner.email)  # no request ends this session
        self.ask("DELETE", f"{AUTH}/sessions/{revoked.claims['sid']}", None, self.owner.access)
        claims, refresh = self.owner.claims, self.owner.refresh
        self.tokens = {
            "nobody": None,
            "expired": self.sign(iat=claims["iat"] - 1000, exp=claims["iat"] - 100),
            "wrong key": jwt.encode(claims, SECRET + "x"),
            "wrong audience": self.sign(aud="staging-api"),
            "wrong issuer": self.sign(iss="staging"),
            "refresh token": refresh,
            "alg none": jwt.encode(claims, None, algorithm="none"),
            "another algorithm": jwt.encode(claims, SECRET + SECRET, algorithm="HS512"),
            "never expires": self.sign(exp=None),
            "signature cut off": self.owner.access.rpartition(".")[0] + ".",
            "another user": other.access,
            "revoked session": revoked.access,
            "owner": self.owner.access,
        }

    def sign(self, **changes: Any) -> str:
        """Sign the owner's claims with changes, where None leaves a claim out."""
        claims = {**self.owner.claims, **changes}
        return jwt.encode({k: v for k, v in claims.items() if v is not None}, SECRET)

    def ask(self, method: str, path: str, body: Any, token: str | None) -> Reply:
        """Send a request with a bearer token, and return the answer."""
        data = b"" if body is None else json.dumps(body).encode()
        fields = [] if token is None else [f"Authorization: Bearer {token}"]
        [reply] = ask(self.port, request(method, path, data, *fields))
        return reply

    def outcome(self, method: str, path: str, body: Any, who: str) -> Any:
        """Return the answer to a caller: a status below 400, or the code of an error.

        The task or session in the path belongs to the owner, and is created for this request.
        Asserts that an error has not changed it.
        """
        task = self.ask("POST", TASKS, {"title": "Mine"}, self.keeper.access)
        task_path = f"{TASKS}/{json.loads(task.body)['id']}"
        if path == SESSION:
            path = f"{AUTH}/sessions/{Account(self.service, self.owner.email).claims['sid']}"
        path = path.replace(TASK, task_path).replace("{name}", "swagger-ui.css")
        if body is NEW:
            body = {**NEW, "email": f"{uuid.uuid4()}@example.com"}
        elif path == f"{AUTH}/login":
            body = {**NEW, "email": self.owner.email}
        reply = self.ask(method, path, body, self.tokens[who])
        if reply.status < 400:
            return reply.status
        if reply.status == 401:
            assert reply.headers["www-authenticate"].startswith("Bearer ")
        assert reply.complaint() == ""
        if path.startswith(task_path):
            found = self.ask("GET", task_path, None, self.keeper.access)
            assert found.headers["etag"] == task.headers["etag"]
        elif "/sessions/" in path:
            sessions = self.ask("GET", f"{AUTH}/sessions", None, self.keeper.access)
            assert path.rpartition("/")[2].encode() in sessions.body
        return json.loads(reply.body)["error"]["code"]


def expected() -> dict[tuple[str, str, str], tuple[Any, Any]]:
    """Return body and outcome by method, path and caller."""
    cells: dict[tuple[str, str, str], tuple[Any, Any]] = {}
    for method, path, body, owner, other in PROTECTED:
        row = {**BAD_TOKENS, "another user": other, "owner": owner}
        row["revoked session"] = "auth_revoked"
        cells |= {(method, path, who): (body, outcome) for who, outcome in row.items()}
    everybody = [*BAD_TOKENS, "another user", "revoked session", "owner"]
    for method, path, body, status in PUBLIC:
        cells |= {(method, path, who): (body, status) for who in everybody}
    for method, path, outcomes in OWN_TOKENS:  # last, since these end sessions
        cells |= {(method, path, w): (None, outcomes.get(w, "auth_invalid")) for w in everybody}
    return cells


def test_no_caller_reaches_data_without_permission(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    cells, matrix = expected(), Cells(serve(postgres.url(), METRICS_TOKEN=METRICS_TOKEN))
    app = create_app(load_config(production=False, environ={"DATABASE_URL": postgres.url()}))
    routed = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    assert {(method, path) for method, path, _ in cells} == routed
    wrong = {}
    for (method, path, who), (body, outcome) in cells.items():
        found = matrix.outcome(method, path, body, who)
        if found != outcome:
            wrong[f"{method} {path} by {who}"] = f"{found}, not {outcome}"
    figures(routes=len(routed), cells=len(cells), wrong=len(wrong))
    assert wrong == {}
