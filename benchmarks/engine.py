"""Time the pretraining and training steps beside their ceiling, their peers and the hardware.

    python benchmarks/engine.py                    profile laptop, into docs/benchmarks/engine.*
    python benchmarks/engine.py --profile paper    the paper's networks, for a GPU
    python benchmarks/engine.py --render           rewrite the page from the numbers

Images are random pixels. Each contender runs in a process of its own, with all cores, and the
rounds are interleaved, so that drift hits all alike. What is timed of ours is `pretrain` and
`train_classifier` themselves: two short runs of different length, whose difference is steps alone.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from _engine_page import render
from _machine import machine
from _page import update_page

ROOT = Path(__file__).resolve().parent.parent
N_IMAGES, SIZE_PX, N_CLASSES = 5_000, 32, 10
RETURNED = "ours, freed memory returned"  # to the system, as glibc does
OURS = ("ours", "ours without augmentation", RETURNED)
CONTENDERS = {  # of each task, in the order of the page
    "simclr": (*OURS, "lightly's loop"),
    "moco": (*OURS, "lightly's loop"),
    "classifier": (*OURS, "torchvision's loop"),
}
FREE = "ours, not deterministic"  # on a GPU alone: a CPU has no other algorithm to choose


def pretraining(name: str, contender: str, n_steps: int) -> tuple[float, int, int]:
    """Return seconds a step, images a step and floating-point operations a step."""
    import torch

    from zeroshot_al.base.params import load_section
    from zeroshot_al.engine.runtime import generator_for, pick_device
    from zeroshot_al.methods.moco import Moco, MocoParams
    from zeroshot_al.methods.simclr import Simclr, SimclrParams
    from zeroshot_al.process.workers import n_cores
    from zeroshot_al.selfsup import pretrain as engine
    from zeroshot_al.selfsup.encoders import EncoderParams

    make, kind = {"simclr": (Simclr, SimclrParams), "moco": (Moco, MocoParams)}[name]
    encoder = load_section("encoder", EncoderParams)
    params = load_section(name, kind, shared="pretrain")
    device, batch = pick_device(), params.batch_size
    images = random_images(max(N_IMAGES, batch))
    torch.manual_seed(0)
    if contender == "lightly's loop":
        from _engine_peers import lightly_loop

        loop = (make(encoder, params), images, params, n_cores(), 3, n_steps, device)
        return lightly_loop(name, *loop) / n_steps, batch, 0
    if contender == FREE:
        choose_algorithms_freely(engine)
    side = params.views.size_px
    fixed = torch.rand(2 * batch, 3, side, side, device=device)
    if contender == "ours without augmentation":
        engine.contrastive_views = lambda *_: fixed

    def run(n_epochs: int) -> float:
        few = replace(params, epochs=n_epochs, warmup_epochs=0)
        pool = images[np.arange(batch * n_steps) % len(images)]
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            engine.pretrain(make(encoder, few), pool, few, Path(folder))
            return time.perf_counter() - start

    method = make(encoder, params).to(device).train()
    operations = count_operations(
        lambda: method.training_loss(*fixed.chunk(2), generator_for(0)).backward()
    )
    run(1)
    return (run(3) - run(1)) / (2 * n_steps), batch, operations


def training(contender: str, n_steps: int) -> tuple[float, int, int]:
    """Return the same of the classifier."""
    import torch

    from zeroshot_al.base.params import load_section
    from zeroshot_al.classifier import classifier as engine
    from zeroshot_al.engine.runtime import pick_device
    from zeroshot_al.process.workers import n_cores

    params = load_section("classifier", engine.ClassifierParams)
    device, batch = pick_device(), params.batch_size
    images = random_images(N_IMAGES)
    labels = np.arange(N_IMAGES) % N_CLASSES
    network = engine.Classifier(
        engine.new_network(params, N_CLASSES), torch.zeros(3), torch.ones(3)
    ).network
    inputs = torch.rand(batch, 3, params.crop_px, params.crop_px, device=device)
    if contender == "torchvision's loop":
        from _engine_peers import plain_loop

        loop = (network, images, params, n_cores(), 3, n_steps, device)
        return plain_loop(*loop) / n_steps, batch, 0
    if contender == FREE:
        choose_algorithms_freely(engine)
    if contender == "ours without augmentation":
        engine.SupervisedViews = lambda *_: lambda *_: inputs

    def run(steps: int) -> float:
        few = replace(params, steps=steps, warmup_steps=1)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            engine.train_classifier(
                images, labels, N_CLASSES, few, 0, Path(folder), lambda done: None
            )
            return time.perf_counter() - start

    operations = count_operations(lambda: network.train()(inputs).sum().backward())
    run(n_steps)
    return (run(3 * n_steps) - run(n_steps)) / (2 * n_steps), batch, operations


def choose_algorithms_freely(engine) -> None:
    """Let cuDNN take its fastest algorithm: the price of ours is the difference."""
    import torch

    pick_device = engine.pick_device

    def pick_freely() -> torch.device:
        device = pick_device()
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
        return device

    engine.pick_device = pick_freely


def random_images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)


def count_operations(step) -> int:
    """Floating-point operations of products and convolutions, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def product_rate(dtype: str) -> float:
    """Best rate of a large square matrix product, in floating-point operations a second."""
    import torch

    from zeroshot_al.engine.runtime import pick_device

    device = pick_device()
    side = 8192 if device.type == "cuda" else 2048
    left = torch.ones(side, side, dtype=getattr(torch, dtype), device=device)
    times = []
    for _ in range(6):
        start = time.perf_counter()
        torch.mm(left, left.T)[0, 0].item()  # item() waits for the device
        times.append(time.perf_counter() - start)
    return 2 * side**3 / min(times)


def run_one(options: argparse.Namespace) -> None:
    """Child process: one contender of one task, as JSON on the last line."""
    import torch

    from zeroshot_al.process.memory import keep_freed_memory

    options.task, options.contender = options.one
    if options.contender in (*OURS, FREE) and options.contender != RETURNED:
        keep_freed_memory()  # as every stage does
    if options.task == "product":
        print(json.dumps({"rate": product_rate(options.contender)}))
        return
    if options.task == "classifier":
        seconds, n_images, operations = training(options.contender, options.steps)
    else:
        seconds, n_images, operations = pretraining(options.task, options.contender, options.steps)
    gpu = torch.cuda.is_available()
    # Linux gives kilobytes. Of the peers' workers, children of this process, it tells the largest.
    resident = sum(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    peak = torch.cuda.max_memory_allocated() / 2**30 if gpu else resident / 2**20
    print(
        json.dumps(
            {
                "images_per_s": n_images / seconds,
                "operations_per_s": operations / seconds,
                "peak_gib": peak,
                "device": torch.cuda.get_device_name() if gpu else "CPU",
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
            }
        )
    )


def child(options: argparse.Namespace, task: str, contender: str) -> dict:
    command = [
        sys.executable,
        __file__,
        "--profile",
        options.profile,
        "--steps",
        str(options.steps),
        "--one",
        task,
        contender,
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    result = json.loads(done.stdout.strip().splitlines()[-1])
    print(task, contender, result, file=sys.stderr)
    return result


def measure(options: argparse.Namespace) -> dict:
    import torch

    before = machine()
    free = (FREE,) if torch.cuda.is_available() else ()
    runs: dict[str, dict[str, list]] = {
        task: {contender: [] for contender in names + free} for task, names in CONTENDERS.items()
    }
    rates: dict[str, list] = {"float32": [], "bfloat16": []}
    for _ in range(options.repeats):
        for dtype, found in rates.items():
            found.append(child(options, "product", dtype)["rate"])
        for task, contenders in runs.items():
            for contender, found in contenders.items():
                found.append(child(options, task, contender))
    return {
        "machine": before,
        "repeats": options.repeats,
        "steps": options.steps,
        **{key: runs["simclr"]["ours"][0][key] for key in ("device", "torch", "threads")},
        "product_rates": {dtype: statistics.median(found) for dtype, found in rates.items()},
        "tasks": {
            task: {
                contender: {
                    "runs_images_per_s": [run["images_per_s"] for run in found],
                    **{
                        key: statistics.median(run[key] for run in found)
                        for key in ("images_per_s", "operations_per_s", "peak_gib")
                    },
                }
                for contender, found in contenders.items()
            }
            for task, contenders in runs.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("TASK", "CONTENDER"), help="internal")
    options = parser.parse_args()
    if options.one:
        use_profile(options.profile)
        run_one(options)
        return
    new = {}
    if not options.render:
        part = measure(options)
        new = {f"{options.profile}, {part['device']}": part}
    update_page("engine", render, new)


def use_profile(profile: str) -> None:
    """Work in a folder of our own, whose params.yaml names the profile."""
    import os

    from zeroshot_al.base.params import read_yaml

    params = read_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"))
    folder = tempfile.mkdtemp(prefix="engine-benchmark-")
    Path(folder, "params.yaml").write_text(json.dumps(params | {"profile": profile}))
    os.chdir(folder)


if __name__ == "__main__":
    main()
