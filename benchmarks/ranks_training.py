"""Time pretraining and embedding on two ranks beside one process with as many or half the threads.

    python benchmarks/ranks_training.py            profile laptop, into docs/benchmarks/
    python benchmarks/ranks_training.py --render   rewrite the page from the numbers

Images are random pixels. Each case runs in processes of its own, and the rounds are interleaved, so
that drift hits all alike. A step is timed as the difference of two short runs of `pretrain`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from _machine import machine
from _page import update_page

ROOT = Path(__file__).resolve().parent.parent
CASES = {  # of the table: number of ranks and threads of each
    "1 process, 2 threads": (1, 2),
    "1 process, 1 thread": (1, 1),
    "2 ranks, 1 thread each": (2, 1),
}
TASKS = {"simclr": "SimCLR, steps a second", "embed": "embedding, images a second"}
N_STEPS, N_EMBEDDED = 40, 10_000


def work(task: str, n_threads: int, out: str, ranks) -> None:
    """Run one task on one of the ranks; the first writes its rate to `out`."""
    import torch

    from zeroshot_al.base.params import load_section
    from zeroshot_al.embedding.features import write_features
    from zeroshot_al.engine.runtime import initial_weights, pick_device
    from zeroshot_al.methods.simclr import Simclr, SimclrParams
    from zeroshot_al.selfsup.encoders import Encoder, EncoderParams
    from zeroshot_al.selfsup.pretrain import pretrain

    torch.set_num_threads(n_threads)
    encoder = load_section("encoder", EncoderParams, ROOT / "params.yaml")
    params = load_section("simclr", SimclrParams, ROOT / "params.yaml", shared="pretrain")
    rng = np.random.default_rng(0)
    directory = Path(out).parent

    def steps(n_steps: int) -> float:
        n_images = n_steps * params.batch_size
        images = rng.integers(0, 256, (n_images, 32, 32, 3), dtype=np.uint8)
        initial_weights(0)
        method = Simclr(encoder, params)
        start = time.perf_counter()
        one = replace(params, epochs=1, warmup_epochs=0)
        pretrain(method, images, one, directory / f"steps-{n_steps}", ranks)
        return time.perf_counter() - start

    def embed(n_images: int) -> float:
        images = rng.integers(0, 256, (n_images, 32, 32, 3), dtype=np.uint8)
        start = time.perf_counter()
        write_features(directory / "rows.npy", Encoder(encoder), images, pick_device(), ranks)
        return time.perf_counter() - start

    measure, size = (steps, N_STEPS) if task == "simclr" else (embed, N_EMBEDDED)
    measure(size // 10)  # warm
    short, long = measure(size // 10), measure(size)
    if ranks.is_first:
        Path(out).write_text(str((size - size // 10) / (long - short)), encoding="utf-8")


def run(task: str, n_ranks: int, n_threads: int) -> float:
    """Return the rate of one case in processes of its own."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n_ranks)]
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory, "rate")
        command = [sys.executable, *(launcher if n_ranks > 1 else ()), __file__]
        command += ["--work", task, str(n_threads), str(out)]
        environment = os.environ | {"OMP_NUM_THREADS": str(n_threads)}
        subprocess.run(command, check=True, env=environment, cwd=ROOT)
        return float(out.read_text(encoding="utf-8"))


def render(result: dict) -> str:
    """Return the page: the medians, and what they are of the first row."""
    about = result["machine"]
    lines = [
        "# Training on several ranks",
        "",
        f"`python benchmarks/ranks_training.py`, profile laptop, random images of 32 pixels; "
        f"{about['cores']} cores of {about['cpu']}, load {about['load_before']} before, "
        f"PyTorch {result['torch']}; median of {result['rounds']} rounds, interleaved; in brackets "
        "the ratio to the first row, and its range over the rounds.",
        "",
        "| | " + " | ".join(TASKS.values()) + " |",
        "| :--- |" + " ---: |" * len(TASKS),
    ]
    first = next(iter(CASES))
    for case in CASES:
        cells = []
        for task in TASKS:
            rates = result["rates"][task]
            ratios = [a / b for a, b in zip(rates[case], rates[first], strict=True)]
            cells.append(
                f"{statistics.median(rates[case]):,.1f} ({statistics.median(ratios):.2f}, "
                f"{min(ratios):.2f} to {max(ratios):.2f})"
            )
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the numbers and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        task, n_threads, out = options.work
        if "RANK" in os.environ:
            from zeroshot_al.process.launch import run_shared_stage

            run_shared_stage(work, task, int(n_threads), out)
        else:
            from zeroshot_al.base.ranks import ALONE

            work(task, int(n_threads), out, ALONE)
        return
    new = {}
    if not options.render:
        import torch

        rates = {task: {case: [] for case in CASES} for task in TASKS}
        about = machine()
        for _ in range(options.rounds):
            for task in TASKS:
                for case, (n_ranks, n_threads) in CASES.items():
                    rates[task][case].append(run(task, n_ranks, n_threads))
        new = {
            "machine": about,
            "torch": torch.__version__,
            "rounds": options.rounds,
            "rates": rates,
        }
    update_page("ranks_training", render, new)


if __name__ == "__main__":
    main()
