"""Run scripts in processes forked after the imports, which take longer than most stages."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

_forks = multiprocessing.get_context("forkserver")
# Libraries alone: each copy of the project imports its own package.
_forks.set_forkserver_preload(
    ["torchvision", "sklearn.linear_model", "scipy.spatial", "matplotlib.pyplot", "timm"]
)


def run_forked(
    root: Path, script: str, arguments: tuple[str, ...], env: dict[str, str], *, ours: bool = False
) -> subprocess.CompletedProcess:
    """Do as ``python SCRIPT ARGUMENTS`` does in the directory `root`, and catch what it prints.

    Fork this very process if the script is to use `ours`, the package that the tests imported.
    """
    forks = multiprocessing.get_context("fork") if ours else _forks
    command = [sys.executable, script, *arguments]
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        streams = [forks.reducer.DupFd(stream.fileno()) for stream in (stdout, stderr)]
        process = forks.Process(target=_become, args=(root, command, env, streams))
        process.start()
        process.join()
        texts = []
        for stream in (stdout, stderr):
            stream.seek(0)
            texts.append(stream.read())
        return subprocess.CompletedProcess(command, process.exitcode, *texts)


def _become(root: Path, command: list[str], env: dict[str, str], streams: list) -> None:
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream.detach(), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
    os.chdir(root)
    os.environ.clear()
    os.environ.update(env)
    sys.orig_argv, sys.argv = command, command[1:]
    sys.path.insert(0, str(root / Path(command[1]).parent))
    runpy.run_path(command[1], run_name="__main__")
