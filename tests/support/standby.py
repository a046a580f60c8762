"""Synchronous standbys of a drill's PostgreSQL server."""

import shutil

from tests.support.database import run_sql
from tests.support.load import wait_for
from tests.support.postgres import Postgres

SYNC_STATE = "SELECT sync_state FROM pg_stat_replication"


def follow(standby: Postgres, primary: Postgres) -> None:
    """Make a server a synchronous standby of another one."""
    shutil.rmtree(standby.data, ignore_errors=True)
    for left in standby.folder.glob(".s.PGSQL*"):  # from a postmaster that was killed
        left.unlink()
    source = f"host=127.0.0.1 port={primary.port} user=postgres application_name=standby"
    standby.run("pg_basebackup", "-d", source, "-D", str(standby.data), "-R", "-c", "fast",
                "--no-sync")  # fmt: skip
    standby.settings["wal_retrieve_retry_interval"] = (
        "100ms"  # a promotion may wait for this interval
    )
    standby.start()
    # After the copy, so that a promoted standby waits for no standby of its own.
    run_sql(primary.url(), "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    run_sql(primary.url(), "ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
    run_sql(primary.url(), "SELECT pg_reload_conf()")
    wait_for(lambda: run_sql(primary.url(), SYNC_STATE) == [("sync",)], 10)
