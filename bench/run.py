"""The benchmark: what a request costs with half a CPU and 512 MB, and how the cost grows.

`python -m bench.run` starts the service as the Procfile does, and the floor (`bench/floor.py`),
each in its own control group, with a PostgreSQL outside of them. wrk loads them in turns. The
medians of the rounds are printed as the tables of `docs/performance.md`.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.targets import (
    CONNECTIONS,
    CPUS,
    LOGINS,
    MEMORY,
    Account,
    Bench,
    Figures,
    Measured,
    Target,
    config_of,
    make_group,
    median,
    seed,
)
from taskflow import create_app
from taskflow.http.context import Caller
from taskflow.tasks import service as tasks
from taskflow.tasks.schemas import SORTS
from tests.support.credentials import SECRET
from tests.support.database import run_sql
from tests.support.query_plans import (
    FILTERS,
    INSERT_TASKS,
    INSERT_USERS,
    ExplainingDatabase,
    without_indexes,
)
from tests.support.service import procfile

FLOOR = ("constant", "select", "prepared")
LOADS = ("health", "get", "list", "create", "update", "mixed", "batch")
# Each one is measured by itself, with the defaults of all others.
SETTINGS = (
    "WEB_THREADS=1",
    "WEB_THREADS=2",
    "WEB_THREADS=4",
    "WEB_THREADS=8",
    "WEB_THREADS=16",
    "WEB_THREADS=32",
    "WEB_CONCURRENCY=2",
    "WEB_AFFINITY=off",
    "DB_POOL_MAX=2",
)
FEW, MANY = 10, 1000  # tasks of the users whose lists are measured
# The answer, the number of tasks, and the query.
LISTS = (
    ("1 of 1,000", MANY, "limit=1"),
    ("20 of 1,000", MANY, "limit=20"),
    ("100 of 1,000", MANY, "limit=100"),
    ("10 of 10", FEW, "limit=20"),
    ("none of 1,000, by a word of nobody", MANY, "limit=20&q=quagga"),
)


def measure_loads(bench: Bench) -> Measured:
    """Measure the loads of the service, and of the floor."""
    options, url = bench.options, bench.create_database("loads")
    service = bench.start(procfile("web"), url)
    command = procfile("web").replace("wsgi:app", "bench.floor:app")
    floor = bench.start(command, url)
    gthread = bench.start(f"{command} --worker-class gthread", url)
    ours_on_gthread = bench.start(f"env WEB_WORKER=gthread {procfile('web')}", url)
    accounts = seed(service, options.users, options.tasks)
    run_sql(url, "VACUUM ANALYZE")
    cases = {f"floor: {load}": partial(bench.measure, floor, load, accounts) for load in FLOOR}
    cases["floor: prepared, gthread"] = partial(bench.measure, gthread, "prepared", accounts)
    cases["get, gthread"] = partial(bench.measure, ours_on_gthread, "get", accounts)
    cases |= {load: partial(bench.measure, service, load, accounts) for load in LOADS}
    for case in ("floor: prepared", "mixed"):
        cases[case]()  # warms up
    measured = bench.in_turns(cases, accounts)
    print(f"\n### Loads: {options.users} users of {options.tasks} tasks\n")
    print_figures(measured, "floor: prepared")
    spread = max(max(f.cpu for f in r) / min(f.cpu for f in r) - 1 for r in measured.values())
    print(f"\nA load's dearest round took up to {spread:.0%} more CPU than its cheapest.")
    return measured


def measure_settings(bench: Bench) -> Measured:
    """Measure the mixed load with other numbers of threads, workers and connections."""
    url = bench.create_database("settings")
    services = {name: bench.start(f"env {name} {procfile('web')}", url) for name in SETTINGS}
    other = bench.start(procfile("web"), url)  # hashes the passwords, which costs memory
    accounts = seed(other, bench.options.users, bench.options.tasks)
    measured = bench.in_turns(
        {name: partial(bench.measure, services[name], "mixed", accounts) for name in SETTINGS},
        accounts,
    )
    print("\n### Settings: the mixed load\n")
    print_figures(measured, "WEB_THREADS=8")
    return measured


def measure_logins(bench: Bench) -> Measured:
    """Measure what logins cost, and how many requests of concurrent readers are left."""
    service = bench.start(procfile("web"), bench.create_database("logins"))
    accounts = seed(service, 10, 20)
    beside: list[Figures] = []

    def read_beside_logins() -> Figures:
        with ThreadPoolExecutor(1) as pool:
            logins = pool.submit(bench.measure, service, "login", accounts, extra=2)
            time.sleep(1)
            reads = bench.measure(service, "list", accounts)
            beside.append(logins.result())
        return reads

    cases: dict[str, Callable[[], Figures]] = {
        "reads": partial(bench.measure, service, "list", accounts),
        "logins": partial(bench.measure, service, "login", accounts),
        "reads beside logins": read_beside_logins,
    }
    measured = bench.in_turns(cases, accounts) | {"logins beside reads": beside}
    medians = {name: median(rounds) for name, rounds in measured.items()}
    reads, logins, kept, others = medians.values()
    print(f"\n### Logins: {LOGINS} at a time, and {CONNECTIONS} readers\n")
    print_table(
        "load | requests/s | p50, ms | p99, ms | peak, MB | errors",
        (
            f"{name} | {f.rate:.1f} | {f.p50:.1f} | {f.p99:.1f} | {f.memory:.0f} | {f.errors}"
            for name, f in medians.items()
        ),
    )
    share = others.rate * logins.cpu / (kept.rate * kept.cpu)
    print(
        f"\nA login takes {logins.cpu / 1000:.0f} ms of CPU. Beside each other, logins had"
        f" {share:.0%} of the CPU,\nand readers {kept.rate / reads.rate:.0%} of the requests that"
        " they have without logins."
    )
    return measured


def measure_growth(bench: Bench) -> Measured:
    """Measure how lists grow with the table, with a user's tasks and with the answer."""
    blocks: dict[str, list[int]] = {}
    services: dict[int, Target] = {}
    users: dict[int, dict[int, Account]] = {}
    for size in bench.options.sizes:
        url = bench.create_database(f"growth{size}")
        services[size] = bench.start(procfile("web"), url)
        users[size] = {count: Account(services[size].port, count) for count in (MANY, FEW)}
        fill(url, size // MANY, users[size][FEW])
        for count in (MANY, FEW) if size == bench.options.sizes[-1] else (MANY,):
            for name, found in explain(url, users[size][count]).items():
                blocks.setdefault(name, []).append(found)
    cases = {
        f"{name} | {size:,}": partial(bench.measure, service, "list", [users[size][count]], query)
        for name, count, query in LISTS
        for size, service in services.items()
    }
    everybody = [account for of_size in users.values() for account in of_size.values()]
    measured = bench.in_turns(cases, everybody)
    sizes = [f"{size:,}" for size in bench.options.sizes]
    print("\n### Growth: CPU of service + PostgreSQL, µs a list, in tables of so many tasks\n")
    medians = {name: median(rounds) for name, rounds in measured.items()}
    cells = {name: f"{f.cpu:.0f} + {f.postgres_cpu:.0f}" for name, f in medians.items()}
    print_table(
        " | ".join(["answer", *sizes]),
        (" | ".join([name, *(cells[f"{name} | {size}"] for size in sizes)]) for name, *_ in LISTS),
    )
    print("\n### Growth: blocks of 8 KB that PostgreSQL reads for a list of 20\n")
    print_table(
        " | ".join(["list", *sizes, f"{FEW} of {sizes[-1]}"]),
        (" | ".join([name, *map(str, found)]) for name, found in blocks.items()),
    )
    return measured


def fill(url: str, users: int, few: Account) -> None:
    """Insert a thousand tasks for each user by SQL, and leave ten of them to `few`."""
    run_sql(url, INSERT_USERS, {"tasks": MANY, "users": users - 1})
    with without_indexes(url):
        run_sql(url, INSERT_TASKS, {"first": 1, "last": MANY})
    rest = "DELETE FROM tasks WHERE user_id = %s AND id NOT IN"
    run_sql(url, f"{rest} (SELECT id FROM tasks WHERE user_id = %s LIMIT {FEW})", (few.id, few.id))
    run_sql(url, "VACUUM ANALYZE")


def explain(url: str, account: Account) -> dict[str, int]:
    """Return the blocks that each list of a user reads; a filter has its most expensive sort."""
    sessions = "SELECT user_id::text, id::text FROM sessions WHERE user_id = %s"
    caller = Caller(*run_sql(url, sessions, (account.id,))[0])
    config = config_of(url)
    app = create_app(config)
    db = ExplainingDatabase(config)
    app.extensions["taskflow"] = replace(app.extensions["taskflow"], database=db)

    def read(sort: str, filters: dict[str, Any]) -> int:
        for _ in range(2):  # the first time it reads the catalog too
            tasks.list_tasks(caller, {"limit": 20, "sort": sort, **filters}, [SECRET])
        return db.plans[-1].blocks

    with app.app_context():
        found = {f"by {sort}": read(sort, {}) for sort in SORTS}
        for name, filters in FILTERS.items():
            found[name] = max(read(sort, filters) for sort in SORTS)
    return found


def print_figures(measured: Measured, base: str) -> None:
    """Print the medians; `ratio` compares the total CPU with another load's in the same round."""
    rows = []
    for name, rounds in measured.items():
        f = median(rounds)
        pairs = zip(rounds, measured[base], strict=True)
        ratio = statistics.median(each.total / its_base.total for each, its_base in pairs)
        rows.append(
            f"{name} | {f.rate:.0f} | {f.p50:.1f} | {f.p99:.1f} | {f.cpu:.0f} |"
            f" {f.postgres_cpu:.0f} | {f.total:.0f} | {ratio:.2f} | {f.memory:.0f} | {f.errors}"
        )
    print_table(
        "load | requests/s | p50, ms | p99, ms | service, µs | PostgreSQL, µs | total, µs | ratio"
        " | peak, MB | errors",
        rows,
    )


def print_table(head: str, rows: Iterable[str]) -> None:
    """Print a table in Markdown."""
    print(f"| {head} |\n|---{'|---:' * head.count('|')}|")
    for row in rows:
        print(f"| {row} |", flush=True)


def machine() -> str:
    """Return a description of the machine and of the limits."""
    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    name = names[0].partition(": ")[2] if names else platform.machine()
    load = os.getloadavg()[0]
    limits = "NO LIMITS, since no control group can be made here"
    if group := make_group():
        group.remove()
        limits = f"{CPUS} CPU and {MEMORY} MB for each target"
    return (
        f"{name}, {os.cpu_count()} cores, Linux {platform.release()}, Python"
        f" {platform.python_version()};\n{limits}; load average {load:.1f} at the start."
    )


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; by default all")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of a load in a round (5)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds to take the median of (5)")
    parser.add_argument("--users", type=int, default=50, help="users who send the requests (50)")
    parser.add_argument("--tasks", type=int, default=100, help="tasks of each user (100)")
    parser.add_argument(
        "--sizes",
        type=lambda text: sorted(int(size) for size in text.split(",")),
        default=[1_000, 100_000, 1_000_000],
        help="numbers of tasks to measure the growth with, in full thousands (1000,100000,1000000)",
    )
    parser.add_argument("--json", type=Path, help="where to write the figures of every round")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    return options


PARTS = {
    "loads": measure_loads,
    "settings": measure_settings,
    "logins": measure_logins,
    "growth": measure_growth,
}


def main() -> None:
    """Run the parts that were asked for."""
    options = parse_options()
    if not shutil.which("wrk"):
        sys.exit("bench: wrk is missing (Debian: apt-get install wrk)")
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit(1))  # stops the targets too
    print(machine())
    results = {}
    for part in options.parts or PARTS:
        with TemporaryDirectory() as folder, ExitStack() as stack:
            measured = PARTS[part](Bench(options, Path(folder), stack))
        results[part] = {name: [asdict(f) for f in rounds] for name, rounds in measured.items()}
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    if any(f["errors"] for part in results.values() for rounds in part.values() for f in rounds):
        sys.exit("bench: there were errors, so the figures are not reliable")


if __name__ == "__main__":
    main()
