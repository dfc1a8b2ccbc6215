"""A stand-in for the stages' scripts: what DVC does with them, in milliseconds a stage.

`python` is found first as the stand-in: it writes each of a stage's outs as a hash of its data and
params, so that a change spreads as far as it does through the scripts. It appends the name of what
it ran to the file $RAN. $IMAGES stands for what lies in the user's folder, which DVC does not see.
"""

import json
import sys
from pathlib import Path

from dvc.dependency import ParamsDependency
from dvc.repo import Repo

STAND_IN = """
import hashlib, json, os, pathlib, sys
from ruamel.yaml import YAML

here = pathlib.Path(__file__).parent
script, *arguments = sys.argv[1:]
if script == "scripts/close_batch.py":  # which is no stage
    sys.exit()
stage = json.loads((here / "stages.json").read_text())[script]
params = YAML(typ="safe", pure=True).load(pathlib.Path("params.yaml"))
content = repr([script, arguments, script == "src/download.py" and os.environ.get("IMAGES")])
for path in stage["params"]:
    value = params
    for key in path.split("."):
        value = value[key]
    content += repr(value)
for dep in map(pathlib.Path, stage["deps"]):
    for file in sorted(dep.rglob("*")) if dep.is_dir() else [dep]:
        content += file.read_text()
for out in stage["outs"]:
    out = pathlib.Path(out.replace("BUDGET", *arguments) if arguments else out)
    # Folders get one file, or those that are deps as well.
    names = ["labelled.csv", "labels.csv"] if out.name == "labels" else ["index.csv"]
    for file in [out] if out.suffix else [out / name for name in names]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(hashlib.sha256((content + str(out)).encode()).hexdigest())
with open(os.environ["RAN"], "a") as log:
    log.write("@".join([pathlib.Path(script).stem, *arguments]) + "\\n")
"""


def install_stand_in(project, directory: Path) -> None:
    """Put the stand-in first in the project's PATH."""
    (directory / "stand_in.py").write_text(STAND_IN)
    (directory / "stages.json").write_text(json.dumps(describe_stages(project.root)))
    (directory / "python").write_text(
        f'#!/bin/sh\nexec {sys.executable} {directory}/stand_in.py "$@"'
    )
    (directory / "python").chmod(0o755)
    project.env["PATH"] = f"{directory}:{project.env['PATH']}"


def describe_stages(root) -> dict:
    """List each script's data, params and outs, as DVC resolves them."""
    stages = {}
    for stage in Repo(str(root)).index.stages:
        _, script, *arguments = stage.cmd.split()
        params = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
        outs = [out.def_path for out in stage.outs]
        if arguments:
            outs = [out.replace(arguments[0], "BUDGET") for out in outs]
        data = {dep.def_path for dep in stage.deps if dep not in params}
        stages[script] = {
            "deps": sorted(dep for dep in data if not dep.startswith("src/")),
            "params": sorted(key for dep in params for key in dep.params),
            "outs": outs,
        }
    return stages
