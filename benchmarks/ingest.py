"""Time the ingestion of a folder beside a bare decode loop, with the memory of all processes.

    python benchmarks/ingest.py small FOLDER     50,000 small PNGs: CIFAR-10's train images
    python benchmarks/ingest.py photos           2,000 synthetic photos of 1600 x 1200, as JPEG
    python benchmarks/ingest.py render           rewrite the page from the numbers

Each run replaces its own part of `docs/benchmarks/ingest.json` and renders `ingest.md` beside it.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from _ingest_page import render
from _machine import machine
from _measure import measure as measure_command
from _page import update_page
from PIL import Image, ImageChops, __version__

ROOT = Path(__file__).resolve().parent.parent
CONTENDERS = ("bare, one process", "bare, all cores", "ours, all cores")
PHOTO_SIZE = (1600, 1200)


def make_photo(path: Path, seed: int) -> None:
    """Save smooth shapes with noise, which compress to about the size of a real photo."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    shapes = coarse.resize(PHOTO_SIZE, Image.Resampling.BICUBIC)
    noise = Image.fromarray(draw.integers(0, 32, (*PHOTO_SIZE[::-1], 1), np.uint8).repeat(3, 2))
    ImageChops.add(shapes, noise, offset=-16).save(path, quality=85)


# --- one run, in a process of its own -----------------------------------------------------------


def paths_of(folder: str) -> list[str]:
    from zeroshot_al.sources.folder import list_folder

    found = list_folder(folder)
    return [f"{found.root}/{name}" for name in found.files.values()]


def decode_bare(paths: list[str]) -> None:
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image.convert("RGB"))


def run_one(name: str, folder: str, size_px: int) -> None:
    """Child process: print the seconds of one contender, by the clock and of the CPUs."""
    from zeroshot_al.base.files import replaced_directory
    from zeroshot_al.base.pool import save_pool
    from zeroshot_al.process.workers import n_cores
    from zeroshot_al.sources.load import load_source
    from zeroshot_al.sources.params import DataParams

    start = time.perf_counter()
    if name.startswith("ours"):
        params = DataParams("folder", folder, size_px)
        with (
            tempfile.TemporaryDirectory() as out,
            replaced_directory(Path(out) / "pool") as directory,
        ):
            save_pool(load_source(params, "", directory), directory)
    else:
        paths = paths_of(folder)
        if name.endswith("one process"):
            decode_bare(paths)
        else:
            blocks = [paths[i : i + 64] for i in range(0, len(paths), 64)]
            with get_context("fork").Pool(n_cores()) as pool:
                for _ in pool.imap_unordered(decode_bare, blocks):
                    pass
    took = time.perf_counter() - start
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(took, sum(usage.ru_utime + usage.ru_stime for usage in usages))


# --- many runs -----------------------------------------------------------------------------------


def measure(name: str, folder: str, size_px: int) -> tuple[float, ...]:
    """Return a run's seconds, CPU seconds, and peak MiB of all processes, anonymous and in all."""
    command = [sys.executable, __file__, "one", name, folder, str(size_px)]
    run = measure_command(command, poll_s=0.1)
    return *map(float, run["output"].split()), run["anonymous_mib"], run["mapped_mib"]


def compare(folder: str, what: str, size_px: int, repeats: int) -> dict:
    paths = paths_of(folder)
    for path in paths:  # into the page cache
        Path(path).read_bytes()
    runs = {name: [] for name in CONTENDERS}
    for _ in range(repeats):
        for name in CONTENDERS:
            runs[name].append(measure(name, folder, size_px))
            print(name, runs[name][-1], file=sys.stderr)
    rows = {
        name: {
            "runs_s": [run[0] for run in found],
            "median_s": statistics.median(run[0] for run in found),
            "cpu_s": statistics.median(run[1] for run in found),
            "anonymous_mib": max(run[2] for run in found),
            "mapped_mib": max(run[3] for run in found),
        }
        for name, found in runs.items()
    }
    return {
        "what": what,
        "n_files": len(paths),
        "size_px": size_px,
        "repeats": repeats,
        "pillow": __version__,
        "array_mib": len(paths) * size_px**2 * 3 / 2**20,
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    mode = modes.add_parser("small")
    mode.add_argument("folder")
    mode.add_argument("--repeats", type=int, default=3)
    mode = modes.add_parser("photos")
    mode.add_argument("--n-photos", type=int, default=2000)
    mode.add_argument("--repeats", type=int, default=3)
    modes.add_parser("render")
    mode = modes.add_parser("one", help="internal: one run")
    mode.add_argument("name", choices=CONTENDERS)
    mode.add_argument("folder")
    mode.add_argument("size_px", type=int)
    options = parser.parse_args()
    if options.mode == "one":
        run_one(options.name, options.folder, options.size_px)
        return
    new, before = {}, machine()
    if options.mode == "small":
        part = compare(options.folder, "PNGs of 32 x 32", 32, options.repeats)
        new["small"] = {"machine": before, **part}
    elif options.mode == "photos":
        with tempfile.TemporaryDirectory() as folder:
            jobs = [(Path(folder) / f"{i:05}.jpg", i) for i in range(options.n_photos)]
            with get_context("fork").Pool() as pool:
                pool.starmap(make_photo, jobs)
            what = "JPEGs of {} x {}".format(*PHOTO_SIZE)
            new["photos"] = {"machine": before, **compare(folder, what, 64, options.repeats)}
    update_page("ingest", render, new)


if __name__ == "__main__":
    main()
