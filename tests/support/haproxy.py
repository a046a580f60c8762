"""HAProxy, as the router in front of instances of the service."""

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.support.service import free_port


class Balancer:
    """HAProxy on a port of its own, which names each instance `s` and its port.

    A request goes to another instance if the first one refuses the connection. A router that is
    `told` where to send requests (`set server … state ready`) tries only that instance, and once.
    """

    def __init__(self, ports: list[int], told: bool = False) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="taskflow-haproxy-"))
        self.admin = self.folder / "admin"
        state = " disabled" if told else ""
        servers = "\n".join(f"  server s{port} 127.0.0.1:{port}{state}" for port in ports)
        (self.folder / "config").write_text(f"""
global
  stats socket {self.admin} level admin
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 40s
  timeout check 5s
  # Another instance only if there was no connection: a request is never sent twice.
  retries {0 if told else 3}
  option redispatch 1
  retry-on conn-failure
frontend public
  bind 127.0.0.1:{self.port}
  default_backend instances
backend instances
  option forwardfor
  option httpchk GET /health/live
  default-server check inter 200ms fall 2 rise 2
{servers}
""")
        self._process = subprocess.Popen(["haproxy", "-db", "-f", self.folder / "config"])

    def is_up(self, port: int) -> bool:
        """Return whether an instance has passed its checks."""
        return is_up(self.admin, port)

    def remove(self) -> None:
        """Stop HAProxy, and delete its files."""
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self.folder)


def command(admin: Path, line: str) -> str:
    """Send a command to HAProxy's admin socket, and return the answer, or "" if it is down."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(admin))
        except OSError:
            return ""
        sock.sendall(f"{line}\n".encode())
        return sock.makefile().read()


def is_up(admin: Path, port: int) -> bool:
    """Return whether an instance has passed its checks."""
    rows = [row.split(",") for row in command(admin, "show stat").splitlines()]
    found = [dict(zip(rows[0], row, strict=False)) for row in rows if row[1:2] == [f"s{port}"]]
    return [(row["status"], row["check_status"]) for row in found] == [("UP", "L7OK")]
