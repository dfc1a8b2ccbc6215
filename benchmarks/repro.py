"""Time the demo from nothing: one stage after the other, and `make repro JOBS=N`.

    python benchmarks/repro.py [--jobs 2 4]   into docs/benchmarks/
    python benchmarks/repro.py --render       rewrite the page from the numbers

Each run is of a new clone of this checkout's last commit, without anything cached; the rounds are
interleaved, so that drift hits all alike. dvc.lock and all outs must have the same bytes.
"""

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from _machine import machine
from _measure import measure
from _page import update_page

ROOT = Path(__file__).resolve().parent.parent
ALONE = "dvc repro"
BUDGETS = [140, 210, 280, 350, 420, 490, 560, 630, 700]  # of `make demo`


def run(n_jobs: int) -> dict:
    """Run the demo in a clone of its own, and return what it took and a digest of what it made."""
    python = Path(sys.executable)
    environment = os.environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory() as temporary:
        project = Path(temporary, "project")
        subprocess.run(["git", "clone", "--quiet", ROOT, project], check=True)
        file = project / "params.yaml"
        params = yaml.safe_load(file.read_text(encoding="utf-8"))
        params |= {"profile": "demo", "budget": 560, "budgets": BUDGETS}
        file.write_text(yaml.safe_dump(params), encoding="utf-8")
        (project / "dvc.lock").unlink()
        command = ["dvc", "repro"]
        if n_jobs > 1:
            command = [python, "scripts/repro.py", "--jobs", str(n_jobs)]
        taken = measure(command, cwd=project, env=environment, stderr=subprocess.DEVNULL)
        lock = (project / "dvc.lock").read_bytes()  # the digests of all outs are in it
    return {
        "seconds": taken["seconds"],
        "cpu_s": taken["cpu_s"],
        "anonymous_mib": taken["anonymous_mib"],
        "digest": hashlib.sha256(lock).hexdigest(),
    }


def render(result: dict) -> str:
    """Return the page: each way of running beside the first."""
    about, cases = result["machine"], result["cases"]
    digests = {run["digest"] for runs in cases.values() for run in runs}
    lines = [
        "# Stages side by side", "",
        f"`python benchmarks/repro.py`: the demo (digits, {result['n_stages']} stages) from "
        f"nothing, each run in a new clone. {about['cores']} cores of {about['cpu']}, Python "
        f"{about['python']}, load {about['load_before']} before; medians of {result['rounds']} "
        "rounds, interleaved, all runs behind them. Memory is the peak of all processes together "
        "without mapped files.", "",
        "| | seconds | runs | of the first | CPU seconds | memory, MiB |",
        "|:---|---:|---|---:|---:|---:|",
    ]  # fmt: skip
    first = cases[ALONE]
    for name, runs in cases.items():
        seconds = [run["seconds"] for run in runs]
        ratio = statistics.median(
            run["seconds"] / alone["seconds"] for run, alone in zip(runs, first, strict=True)
        )
        medians = [
            statistics.median(run[key] for run in runs) for key in ("cpu_s", "anonymous_mib")
        ]
        lines.append(
            f"| `{name}` | {statistics.median(seconds):.0f} | "
            f"{', '.join(f'{value:.0f}' for value in seconds)} | {ratio:.2f} | "
            f"{medians[0]:.0f} | {medians[1]:,.0f} |"
        )
    lines += ["", f"- the same dvc.lock, byte for byte: {'yes' if len(digests) == 1 else 'NO'}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the numbers and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--render", action="store_true")
    options = parser.parse_args()
    new = {}
    if not options.render:
        names = {ALONE: 1} | {f"make repro JOBS={n}": n for n in options.jobs}
        cases, about = {name: [] for name in names}, machine()
        for _ in range(options.rounds):
            for name, n_jobs in names.items():
                cases[name].append(run(n_jobs))
                print(name, cases[name][-1], flush=True)
        stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
        n_stages = sum(len(BUDGETS) if "foreach" in stage else 1 for stage in stages.values())
        new = {"machine": about, "rounds": options.rounds, "n_stages": n_stages, "cases": cases}
    update_page("repro", render, new)


if __name__ == "__main__":
    main()
