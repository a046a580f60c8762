"""A backup restores the service, and the service can run as a role that owns no table."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from flask import Flask
from flask.testing import FlaskClient

from taskflow import create_app
from taskflow.config import Config
from taskflow.database.migrations import apply_migrations
from tests.support.assertions import assert_error
from tests.support.database import run_sql
from tests.support.postgres import BIN
from tests.support.service import procfile, production_env, run
from tests.support.sessions import refresh, register
from tests.support.users import User

DOCS = Path(__file__).parent.parent.parent / "docs"


def command(title: str, **words: str) -> str:
    """Return the command below a heading of docs/backups.md, with these words filled in."""
    _, _, text = (DOCS / "backups.md").read_text().partition(f"## {title}\n")
    line = text.partition("```sh\n")[2].partition("\n```")[0]
    for name, word in words.items():
        line = line.replace(f'"${name}"', f"'{word}'")
    return line


def run_command(text: str) -> None:
    env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["sh", "-ec", text], env=env, check=True, capture_output=True)


def restore(source: str, target: str, file: Path) -> None:
    """Back up a database and restore it into another one, as the documentation says."""
    run_command(command("Make a backup", DATABASE_URL=source).replace("taskflow.dump", str(file)))
    text = command("Restore a backup", NEW_DATABASE_URL=target)
    run_command(text.replace("taskflow.dump", str(file)))


def app_on(config: Config, url: str) -> Flask:
    return create_app(replace(config, database_url=url))


def test_a_restored_backup_serves_as_of_its_time(
    empty_database: Callable[[], str], config: Config, tmp_path: Path
) -> None:
    source, target = empty_database(), empty_database()
    apply_migrations(replace(config, database_url=source))
    app = app_on(config, source)
    user = User(app, "one@example.com")
    kept = user.task(title="kept", tags=["é"])
    gone = user.task(title="gone")
    user.delete(f"/tasks/{gone['id']}")
    before = user.get("/tasks/changes").json["nextSince"]
    browser, idle = app.test_client(), app.test_client()
    csrf = register(browser).json["csrfToken"]
    idle_csrf = register(idle, email="idle@example.com").json["csrfToken"]
    restore(source, target, tmp_path / "dump")
    user.task(title="after the backup")
    after = user.get("/tasks/changes").json["nextSince"]
    assert refresh(browser, csrf).status_code == 200

    done = run(procfile("release"), production_env(target))
    assert (done.returncode, done.stdout.startswith("taskflow: no migration is missing")) == (
        0,
        True,
    )
    restored = User.__new__(User)
    restored.__dict__ = {**user.__dict__, "_client": app_on(config, target).test_client()}
    assert restored.titles() == ["kept"]
    assert restored.get(f"/tasks/{kept['id']}").json == kept
    assert restored.titles("?q=kept&tag=%C3%A9") == ["kept"]
    for token in (before, after):
        response = restored.get(f"/tasks/changes?since={token}")
        assert_error(response, 410, "changes_expired")
    assert restored.post(f"/tasks/{gone['id']}/restore").status_code == 200
    assert restored.task(title="new")["version"] > kept["version"]
    # A session that has not refreshed since the backup continues.
    assert refresh(moved(app_on(config, target), idle), idle_csrf).status_code == 200
    # The restored database does not know a later token, which it treats as stolen.
    response = refresh(moved(app_on(config, target), browser), csrf)
    assert_error(response, 401, "auth_revoked")


def moved(app: Flask, browser: FlaskClient) -> FlaskClient:
    """Return a browser with the same cookies whose requests go to another application."""
    other = app.test_client()
    other._cookies = browser._cookies
    return other


def test_the_service_runs_as_a_role_that_owns_nothing(
    empty_database: Callable[[], str], config: Config
) -> None:
    url = empty_database()
    apply_migrations(replace(config, database_url=url))
    role = f"taskflow_{uuid4().hex[:8]}"
    run_sql(url, f"CREATE ROLE {role}")
    _, _, grants = (DOCS / "operations.md").read_text().partition("```sql\n-- rights\n")
    run_sql(url, grants.partition("```")[0].replace("taskflow_web", role))
    joint = "&" if "?" in url else "?"
    as_role = f"{url}{joint}options={quote(f'-c role={role}')}"
    try:
        app = app_on(config, as_role)
        assert app.test_client().get("/health").status_code == 200
        use_every_table(app)
        done = run(f"{procfile('release').rpartition(' ')[0]} purge", production_env(as_role))
        assert done.returncode == 0, done.stderr
        owners = run_sql(url, "SELECT count(*) FROM pg_class WHERE relowner = %s::regrole", (role,))
        assert owners == [(0,)]
    finally:
        run_sql(url, f"DROP OWNED BY {role}; DROP ROLE {role}")


def use_every_table(app: Flask) -> None:
    user = User(app, "clerk@example.com")
    browser = app.test_client()
    csrf = register(browser).json["csrfToken"]
    assert refresh(browser, csrf).status_code == 200
    task = user.post("/tasks", {"title": "x"}, headers={"Idempotency-Key": "k"}).json
    again = user.post("/tasks", {"title": "x"}, headers={"Idempotency-Key": "k"})
    assert again.headers["Idempotency-Replayed"] == "true"
    path = f"/tasks/{task['id']}"
    batch = {"create": [{"title": "y"}], "update": [{"id": task["id"], "title": "z"}]}
    calls: list[tuple[str, str, Any]] = [
        ("PATCH", path, {"title": "q"}), ("DELETE", path, None), ("POST", f"{path}/restore", None),
        ("POST", "/tasks/batch", batch), ("GET", "/tasks?q=y", None),
        ("GET", "/auth/sessions", None),
        ("GET", "/tasks/changes", None), ("GET", "/tasks/summary", None),
        ("PUT", "/auth/email", {"email": "c@example.com", "password": "correct horse battery"}),
        ("DELETE", "/auth/me", {"password": "correct horse battery"}),
    ]  # fmt: skip
    for method, target, body in calls:
        response = user.request(method, target, json=body)
        assert response.status_code < 300, (method, target, response.text)
