"""What one GPU does with the paper's own scale, into docs/benchmarks/gpu.json and gpu.md.

python benchmarks/gpu.py speed [--device cpu]   orders of seeded rows; steps of every training
python benchmarks/gpu.py pretrain               the stage pretrain_simclr, timed
python benchmarks/gpu.py curves                 accuracy of random and of each order, by budget
python benchmarks/gpu.py few                    the same by a linear head on the frozen features
python benchmarks/gpu.py page                   docs/benchmarks/gpu.md of what is in gpu.json

`speed` needs no data. `pretrain` needs data/pool, so run the stage download before; the others need
data/embeddings and metrics/linear_eval.json, so run embed. Each figure is written as it comes,
so that a run that is cut off keeps what it has.
"""

import argparse
import functools
import hashlib
import json
import math
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _gpu_page import render
from _machine import machine
from _page import update_page
from sklearn.linear_model import LogisticRegression

from zeroshot_al.base.files import read_json, read_npy
from zeroshot_al.base.params import load_section
from zeroshot_al.base.pool import Pool, load_pool
from zeroshot_al.classifier.classifier import ClassifierParams, train_classifier
from zeroshot_al.classifier.training import Training, random_order
from zeroshot_al.coverage import coverage_order, zero_shot_order
from zeroshot_al.engine.checkpoint import Checkpoint
from zeroshot_al.kcenter import kcenter_order
from zeroshot_al.methods.moco import Moco, MocoParams
from zeroshot_al.methods.simclr import Simclr, SimclrParams
from zeroshot_al.probing.pools import seen_all_after
from zeroshot_al.selfsup import pretrain as pretraining
from zeroshot_al.selfsup.encoders import EncoderParams

SIZES = ((50_000, 25_000), (1_281_167, 10_000))
N_DIMS, N_COMPARED = 512, 1_000
N_WARMUP, N_DRAWS = 12, 20
FEW = (10, 20, 50, 100, 200, 400, 800, 1_600)
ORDERS = {"k-center": kcenter_order, "coverage": coverage_order, "zero-shot": zero_shot_order}
CLASSIFIERS = ((16, 4), (16, 8), (28, 10))


def write(file: Path, section: str, name: str, value: object) -> None:
    """Add one figure to a section of a JSON file, and print it."""
    found = json.loads(file.read_text()) if file.exists() else {}
    found.setdefault(section, {})[name] = value
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=2) + "\n")
    print(f"{time.strftime('%H:%M:%S')} {name}: {json.dumps(value)}", flush=True)


def device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def order_speed(name: str, n_samples: int, n_select: int, device: str) -> dict:
    """Time an order of seeded rows in clusters; the hash of its first picks is for comparison."""
    rng = np.random.default_rng(n_samples)
    centres = rng.standard_normal((1_000, N_DIMS), dtype=np.float32)
    rows = rng.standard_normal((n_samples, N_DIMS), dtype=np.float32)
    rows += centres[rng.integers(1_000, size=n_samples)]
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    found = ORDERS[name](rows, n_select, device=device)
    return {
        "n_samples": n_samples,
        "n_select": n_select,
        "seconds": round(time.perf_counter() - start, 2),
        "first_picks": hashlib.sha256(found.order[:N_COMPARED].tobytes()).hexdigest()[:16],
        "gpu_gib": 0 if device == "cpu" else round(torch.cuda.max_memory_allocated() / 2**30, 2),
    }


def timed_steps(run: Callable[[Callable[[], None]], object]) -> float:
    """Return the seconds of a step of `run(on_step)`, after the first ones."""
    count, start = 0, 0.0

    def on_step() -> None:
        nonlocal count, start
        if count == N_WARMUP:
            synchronize()
            start = time.perf_counter()
        count += 1

    run(on_step)
    synchronize()
    return (time.perf_counter() - start) / (count - N_WARMUP)


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def pretraining_speed(kind: type, params: object, batch_size: int, n_steps: int) -> dict:
    """Time the steps of a contrastive method on noise of CIFAR-10's size."""
    pretraining.Checkpoint = functools.partial(Checkpoint, every_s=math.inf)
    encoder = load_section("encoder", EncoderParams)
    images = np.random.default_rng(0).integers(
        256, size=(batch_size * n_steps // 2, 32, 32, 3), dtype=np.uint8
    )
    params = replace(params, batch_size=batch_size, epochs=2, warmup_epochs=0)
    method = kind(encoder, params)
    compute = method.training_loss

    def run(on_step: Callable[[], None]) -> None:
        def training_loss(*arguments: object) -> torch.Tensor:
            on_step()
            return compute(*arguments)

        method.training_loss = training_loss
        with tempfile.TemporaryDirectory() as directory:
            pretraining.pretrain(method, images, params, Path(directory))

    seconds = timed_steps(run)
    epoch_s = seconds * (50_000 // batch_size)
    return {"ms_a_step": round(1000 * seconds, 2), "s_an_epoch": round(epoch_s, 2)}


def classifier_speed(params: ClassifierParams, n_steps: int) -> dict:
    """Time the steps of the classifier on noise of CIFAR-10's size."""
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(25_000, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(10, size=len(images))
    params = replace(params, steps=n_steps)

    def run(on_step: Callable[[], None]) -> None:
        with tempfile.TemporaryDirectory() as directory:
            train_classifier(
                images, labels, 10, params, 0, Path(directory), lambda n: on_step() if n else None
            )

    return {"ms_a_step": round(1000 * timed_steps(run), 2), "batch_size": params.batch_size}


def speed(out: Path, device: str, n_steps: int) -> None:
    write(out, "speed", "machine", {**machine(), "gpu": device_name(), "torch": torch.__version__})
    simclr = load_section("simclr", SimclrParams, shared="pretrain")
    moco = load_section("moco", MocoParams, shared="pretrain")
    contrastive = functools.partial(pretraining_speed, n_steps=n_steps)
    steps = {
        "simclr, 512": functools.partial(contrastive, Simclr, simclr, 512),
        "simclr, 1024": functools.partial(contrastive, Simclr, simclr, 1024),
        "moco, 512": functools.partial(contrastive, Moco, moco, 512),
    }
    classifier = load_section("classifier", ClassifierParams)
    for depth, width in CLASSIFIERS:
        params = replace(classifier, depth=depth, width=width)
        steps[f"wide-resnet-{depth}-{width}"] = functools.partial(classifier_speed, params, n_steps)
    for n_samples, n_select in SIZES:
        name = f"k-center, {n_samples}"
        steps[name] = functools.partial(order_speed, "k-center", n_samples, n_select, device)
    name = f"zero-shot, {SIZES[0][0]}"
    steps[name] = functools.partial(order_speed, "zero-shot", *SIZES[0], device)
    for name, measure in steps.items():
        write(out, "speed", name, measure())


def pretrain(out: Path) -> None:
    """Run the stage, and take down its seconds, start and checkpoints included."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "src/pretrain_simclr.py"], check=True)
    seconds = round(time.perf_counter() - start)
    epochs = load_section("simclr", SimclrParams, shared="pretrain").epochs
    write(out, "pretraining", "simclr", {"epochs": epochs, "seconds": seconds})


def few(out: Path) -> None:
    """Fit a linear head on the embeddings of the first images of each order, and of random ones."""
    pool = load_pool("data/pool")
    rows = read_npy("data/embeddings/simclr.npy")
    rows = rows - rows[: pool.n_train].mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    test, test_labels = rows[pool.n_train :], pool.test_labels
    orders = {"random": [random_order(pool.n_train, seed) for seed in range(N_DRAWS)]}
    orders |= {name: [make_order(name, max(FEW))[0]] for name in ORDERS}
    for name, found in orders.items():
        accuracies = {}
        for budget in FEW:
            heads = [
                LogisticRegression(C=10, max_iter=300).fit(
                    rows[order[:budget]], pool.train_labels[order[:budget]]
                )
                for order in found
            ]
            accuracies[str(budget)] = [float(head.score(test, test_labels)) for head in heads]
        seen = [seen_all_after(pool.train_labels[order], len(pool.classes)) for order in found]
        write(out, "few_labels", name, {"accuracies": accuracies, "all_classes_after": seen})


def make_order(name: str, n_select: int) -> tuple[np.ndarray, float]:
    """Return the order of the pool by its embeddings, and its seconds."""
    rows = read_npy("data/embeddings/simclr.npy")[: load_pool("data/pool").n_train]
    start = time.perf_counter()
    return ORDERS[name](rows, n_select).order, time.perf_counter() - start


def train(picks: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the accuracy of one training, and its seconds."""
    torch.set_num_threads(2)
    params = load_section("classifier", ClassifierParams)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        training = Training(tuple(map(int, picks)), seed, params, "data/pool")
        accuracy = training.run(Path(directory), lambda n: None)
    return accuracy, time.perf_counter() - start


def curves(out: Path, budgets: list[int], n_seeds: int, n_workers: int, seconds: float) -> None:
    """Train on the first images of each order, several trainings at once."""
    end = time.monotonic() + seconds
    pool = load_pool("data/pool")
    cases = [(seed, budget) for seed in range(n_seeds) for budget in budgets]
    with ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn")) as workers:
        waiting = {workers.submit(make_order, name, max(budgets)): name for name in ORDERS}
        for seed, budget in cases:
            picks = random_order(pool.n_train, seed)[:budget]
            waiting[workers.submit(train, picks, seed)] = f"random, {budget}, seed {seed}"
        while waiting:
            done, _ = wait(waiting, max(0, end - time.monotonic()), FIRST_COMPLETED)
            if not done:
                print("time is up", flush=True)
                for process in list(workers._processes.values()):
                    process.kill()
                return
            for future in done:
                name = waiting.pop(future)
                if future.exception():
                    write(out, "errors", name, {"error": repr(future.exception())[:300]})
                    continue
                found, spent = future.result()
                if name in ORDERS:
                    write(out, "orders", name, describe(found, spent, pool, budgets))
                    np.save(out.with_name(f"{name}.npy"), found.astype(np.int32))
                    for seed, budget in cases:
                        training = workers.submit(train, found[:budget], seed)
                        waiting[training] = f"{name}, {budget}, seed {seed}"
                else:
                    write(out, "curves", name, {"accuracy": found, "seconds": round(spent, 1)})


def describe(order: np.ndarray, spent: float, pool: Pool, budgets: list[int]) -> dict:
    """Return an order's seconds and the images of each class among its first ones."""
    labels = pool.train_labels[order]
    counts = {n: np.bincount(labels[:n], minlength=len(pool.classes)).tolist() for n in budgets}
    return {"seconds": round(spent, 2), "n_by_class": counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["speed", "pretrain", "curves", "few", "page"])
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/gpu.json"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--budgets", type=int, nargs="+", default=[5_000, 10_000, 25_000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3_600)
    given = parser.parse_args()
    if given.what == "speed":
        speed(given.out, given.device, given.steps)
    elif given.what == "pretrain":
        pretrain(given.out)
    elif given.what == "curves":
        write(given.out, "linear_eval", "all", read_json("metrics/linear_eval.json"))
        curves(given.out, given.budgets, given.seeds, given.workers, given.seconds)
    elif given.what == "few":
        few(given.out)
    else:
        update_page("gpu", render, {})


if __name__ == "__main__":
    main()
