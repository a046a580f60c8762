"""A builder that carries out a Dockerfile in Debian root folders, without a container engine."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

INITIAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Step(NamedTuple):
    """An instruction of a Dockerfile."""

    instruction: str
    argument: str


def parse_dockerfile(text: str) -> list[Step]:
    """Return the instructions, with continued lines joined."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Step(*line.split(None, 1)) for line in joined.splitlines() if line]


def parse_options(argument: str) -> tuple[dict[str, str], str]:
    """Return the leading `--name=value` options of an argument, and the rest."""
    options, rest = {}, argument
    while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
        options[match[1]] = match[2]
        rest = rest[match.end() :]
    return options, rest


def read_context(folder: Path) -> set[str]:
    """Return the names that .dockerignore lets into the context; it ignores all others."""
    lines = (folder / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    return {line[1:] for line in lines if line.startswith("!") and (folder / line[1:]).exists()}


def copy_into(source: Path, target: Path) -> None:
    """Copy a file or a folder; the copy keeps the modes and belongs to root."""
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, symlinks=True, ignore=ignored, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)


class Stage:
    """A stage of a build: a root, and the settings that later instructions add to it."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root = root
        self.build_environment = environment
        self.environment = {"PATH": INITIAL_PATH}
        self.folder, self.user = "/", "0"
        self.stop_signal, self.health_command, self.command = "", "", [""]

    def chroot(self, command: list[str], **environment: str) -> list[str]:
        """Return a command line that runs a command in the root, as the stage's user."""
        settings = [f"{k}={v}" for k, v in {**self.environment, **environment}.items()]
        enter = ["chroot", f"--userspec={self.user}", str(self.root)]
        return [*enter, "env", "-i", "-C", self.folder, *settings, *command]

    def run(self, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the root to its end."""
        return subprocess.run(
            self.chroot(command, **environment), capture_output=True, text=True, timeout=120
        )

    def take(self, step: Step, context: Path, stages: dict[str, "Stage"]) -> None:
        """Carry out an instruction; fails if the instruction fails or is unknown."""
        match step:
            case ("RUN", command):
                done = self.run(["sh", "-c", command], **self.build_environment)
                assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
            case ("COPY", argument):
                self._copy(argument, context, stages)
            case ("ENV", assignment):
                name, value = assignment.split("=", 1)
                self.environment[name] = Template(value).substitute(self.environment)
            case ("WORKDIR", folder):
                (self.root / folder.strip("/")).mkdir(parents=True, exist_ok=True)
                self.folder = folder
            case ("USER", user):
                self.user = user
            case ("STOPSIGNAL", name):
                self.stop_signal = name
            case ("HEALTHCHECK", argument):
                self.health_command = parse_options(argument)[1].removeprefix("CMD ")
            case ("CMD", command):
                self.command = json.loads(command)
            case _:
                assert step.instruction == "EXPOSE", step

    def _copy(self, argument: str, context: Path, stages: dict[str, "Stage"]) -> None:
        options, paths = parse_options(argument)
        source, target = shlex.split(paths)
        into = self.root / Path(self.folder, target).relative_to("/")
        if "from" in options:
            copy_into(stages[options["from"]].root / source.strip("/"), into)
            return
        allowed = read_context(context)
        for name in allowed if source == "." else allowed & {source}:
            copy_into(context / name, into / name)


def build(context: Path, base: Path, environment: dict[str, str]) -> tuple[Stage, int]:
    """Carry out a folder's Dockerfile and return its last stage and the number of its steps.

    Each stage begins as a copy of `base`. RUN gets `environment` besides that of ENV.
    """
    steps = parse_dockerfile((context / "Dockerfile").read_text())
    stages: dict[str, Stage] = {}
    stage: Any = None
    for step in steps:
        if step.instruction == "FROM":
            image, _, name = step.argument.partition(" AS ")
            assert re.fullmatch(r"python:3\.\d+-slim", image)
            root = base.with_name(f"stage-{len(stages)}")
            subprocess.run(["cp", "--archive", base, root], check=True)
            stage = stages[name] = Stage(root, environment)
        else:
            stage.take(step, context, stages)
    return stage, len(steps)
