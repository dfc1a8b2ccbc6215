"""Copies of the project to run the pipeline in: each a git and DVC repository with its own HOME."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from forked_stage import run_forked
from zeroshot_al.base.params import merge, read_yaml

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "a test"), ("EMAIL", "test@localhost"))
}
# The demo profile with nothing but its counts lowered. Two epochs, so that there is a checkpoint
# to continue from; seven steps of 64 pass over every budget's smallest set twice.
FEWER_STEPS = {
    "profiles.demo.moco.epochs": 2,
    "profiles.demo.moco.batch_size": 512,
    "profiles.demo.moco.queue_size": 1024,
    "profiles.demo.simclr.epochs": 2,
    "profiles.demo.simclr.batch_size": 512,
    "profiles.demo.embed.linear_max_iter": 20,
    "profiles.demo.classifier.steps": 7,
    "profiles.demo.classifier.warmup_steps": 1,
}


@dataclass(frozen=True)
class Project:
    """A copy of the project and the environment that its commands run in."""

    root: Path
    env: dict[str, str]

    def call(self, *command: str | Path, **env: str) -> subprocess.CompletedProcess:
        """Run a command in the copy, and return it whatever its exit code."""
        return subprocess.run(
            [str(word) for word in command],
            cwd=self.root,
            env=self.env | env,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def run(self, *command: str | Path, **env: str) -> str:
        """Run a command that must succeed, and return its output."""
        done = self.call(*command, **env)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def stage(self, name: str, *arguments: str, **env: str) -> subprocess.CompletedProcess:
        """Run a stage's script without DVC."""
        return run_forked(self.root, f"src/{name}.py", arguments, self.env | env)

    def params(self) -> dict:
        """Read params.yaml."""
        return read_yaml((self.root / "params.yaml").read_text(encoding="utf-8"))

    def sections(self, profile: str) -> dict:
        """Return a profile's sections over the defaults."""
        params = self.params()
        return merge(params["defaults"], params["profiles"][profile])

    def set_params(self, changes: dict[str, object]) -> None:
        """Change keys of params.yaml, each given by its dotted path; None removes one."""
        yaml, file = YAML(), self.root / "params.yaml"
        params = yaml.load(file)
        for path, value in changes.items():
            *parents, key = path.split(".")
            section = params
            for parent in parents:
                section = section.setdefault(parent, {})
            if value is None:
                del section[key]
            else:
                section[key] = value
        yaml.dump(params, file)

    def commit(self) -> None:
        """Commit everything that git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "a test's state")

    def outs(self) -> dict[str, str]:
        """Hash every file under the directories that stages write to."""
        return {
            file.relative_to(self.root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for top in ("data", "models", "metrics", "plots")
            for file in sorted((self.root / top).rglob("*"))
            if file.is_file()
        }

    def copy(self, directory: Path) -> "Project":
        """Copy everything, DVC's cache included."""
        shutil.copytree(self.root, directory, symlinks=True)
        return Project(directory, self.env)


def clean_environment(home: Path) -> dict[str, str]:
    """Return an environment with an empty HOME and nothing of the user's git, DVC or project."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GIT_", "DVC_", "ZEROSHOT_AL_", "XDG_", "MAKE", "PYTEST_"))
        and name not in ("MFLAGS", "PYTHONPATH", "PYTHONSAFEPATH")
    }
    return env | {
        "HOME": str(home),
        "PATH": f"{BIN}{os.pathsep}{env['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        # For scripts/, as the editable install does. A stage finds the copy's own package first.
        "PYTHONPATH": str(ROOT / "src"),
        # Else DVC keeps its state of these short-lived repositories in a shared place.
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
    }


def fresh_copy(directory: Path, env: dict[str, str]) -> Project:
    """Copy the tracked files and commit them, as a clone would be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for path in filter(None, listed.split("\0")):
        if not path.startswith(("tests/", "benchmarks/")) and (ROOT / path).exists():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, directory / path)
    project = Project(directory, env | IDENTITY)
    project.run("git", "init", "--quiet")
    project.commit()
    return project


def options_of_demo() -> list[str]:
    """Return the Makefile's own options of the demo, and those that lower its counts."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    own = re.search(r"^DEMO := (.+)$", makefile, re.MULTILINE)
    return [*shlex.split(own[1]), *(f"-S++{key}={value}" for key, value in FEWER_STEPS.items())]
