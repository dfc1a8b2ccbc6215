"""Kill, starve and damage runs of the demo, recover, and compare every byte with a quiet run.

    python benchmarks/torture.py                 all groups of rows
    python benchmarks/torture.py kills disk      some of them
    python benchmarks/torture.py --render        rewrite the page from the results

Each group replaces its own part of `docs/benchmarks/torture.json`; `docs/RELIABILITY.md` is
rendered from all of it. For Linux; what needs to mount a file system is skipped without root.
"""

import argparse
import json
import signal
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

import _torture_damage
import _torture_disks
import _torture_ingestion
import _torture_kills
import _torture_limits
import _torture_ranks
import _torture_signals
from _machine import machine
from _torture_lab import SEED, Row, make_lab
from _torture_page import render

# A shell starts what it puts into the background with Ctrl-C ignored, and children inherit that:
# the row of Ctrl-C would disturb nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs/benchmarks/torture.json"
PAGE = ROOT / "docs/RELIABILITY.md"
GROUPS = {
    "kills": _torture_kills.every_stage,
    "replacing": _torture_kills.while_replacing,
    "signals": _torture_signals.signals,
    "two": _torture_signals.two_at_once,
    "ranks": _torture_ranks.some_stages,
    "disk": _torture_disks.full,
    "readonly": _torture_disks.read_only,
    "cache": _torture_disks.cache_objects,
    "truncated": _torture_damage.truncated,
    "checkpoints": _torture_damage.checkpoints,
    "nan": _torture_damage.not_a_number,
    "ingestion": _torture_ingestion.sources_that_change,
    "memory": _torture_limits.memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)}; all without")
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--folder", help="where to work, and to find the undisturbed run again")
    options = parser.parse_args()
    if unknown := set(options.groups) - set(GROUPS):
        parser.error(f"unknown group {min(unknown)!r}; give some of {', '.join(GROUPS)}")
    if not options.render:
        before = machine()
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            print(f"seed {SEED}; the undisturbed run:", flush=True)
            where = Path(options.folder or folder).resolve()
            lab = make_lab(where, lambda line: print(f"  {line}", flush=True))
            for name in options.groups or GROUPS:
                lab.start(partial(save_rows, name, before))
                GROUPS[name](lab)
    results = save({})
    rows = [row for part in results.values() for row in part["rows"]]
    if any(row["lost"] != "nothing" or row["missed"] for row in rows):
        sys.exit("a row lost something, or disturbed nothing: see docs/RELIABILITY.md")


def save_rows(name: str, before: dict, rows: list[Row]) -> None:
    save({name: {"machine": before, "rows": [asdict(row) for row in rows]}})


def save(parts: dict) -> dict:
    """Replace some groups' results, render the page of all, and return them."""
    # Read again each time: groups may be run by several processes.
    old = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results = old | parts
    ordered = {name: results[name] for name in GROUPS if name in results}
    RESULTS.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(render(ordered), encoding="utf-8")
    return ordered


if __name__ == "__main__":
    main()
