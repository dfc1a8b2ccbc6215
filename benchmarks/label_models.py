"""What `labels.model` head, finetune and network make of the same random labels, side by side.

    python benchmarks/label_models.py run      after `dvc repro embed` of a labelled pool
    python benchmarks/label_models.py page     rewrite the page from the numbers

Head and finetune stand on SimCLR of the active profile; data/embeddings/pretrained.npy of an
existing model adds a head on that. Each figure goes into docs/benchmarks/label_models.json as it
comes, under its profile, and what is there is not done again.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from _label_models_page import MODEL_NAMES, render
from _machine import machine
from _page import update_page
from gpu import device_name, write
from safetensors.torch import load_file
from torch import Tensor

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_npy
from zeroshot_al.base.params import load_experiment, load_section
from zeroshot_al.base.pool import Pool, check_budgets, load_pool
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.classifier.training import random_order
from zeroshot_al.embedding.probe import EmbedParams
from zeroshot_al.embedding.run import EXISTING
from zeroshot_al.engine.runtime import pick_device
from zeroshot_al.labels.labelling import LabelsParams
from zeroshot_al.methods.simclr import SimclrParams
from zeroshot_al.predicting.fitting import Embedded, fit_model
from zeroshot_al.predicting.head import UNTRIED, Head, choose_strength, stratified_folds
from zeroshot_al.predicting.labelled import Labelled
from zeroshot_al.predicting.networks import LabelTraining
from zeroshot_al.predicting.saved import EncoderUsed, ModelCard, encoder_used, model_logits
from zeroshot_al.probing.heads import centred
from zeroshot_al.selfsup.encoders import EncoderParams

POOL, EMBEDDINGS, MODELS, METHOD = "data/pool", Path("data/embeddings"), "models", "simclr"
HEAD, FINETUNE, NETWORK, ON_EXISTING = MODEL_NAMES
SAME = ("n_train", "encoder", "epochs", "finetune", "classifier")


@dataclass(frozen=True)
class Case:
    """A model to make of the first `n_labels` of a seed's random order of the pool."""

    model: str  # of MODEL_NAMES
    n_labels: int
    seed: int
    embeddings: Path
    classifier: ClassifierParams
    encoder: EncoderUsed | None

    @property
    def key(self) -> str:
        return f"{self.model}, {self.n_labels}, {self.seed}"

    def measure(self) -> dict:
        """Return its accuracy on all test images, and the seconds that it took to make."""
        pool = load_pool(POOL)
        picks = random_order(pool.n_train, self.seed)[: self.n_labels]
        is_head = self.model in (HEAD, ON_EXISTING)
        strength = self.strength(pool, picks)
        start = time.perf_counter()
        tensors = self.fit_head(pool, picks) if is_head else self.train(pool, picks, strength)
        seconds = time.perf_counter() - start
        logits = self.head_logits(pool, tensors) if is_head else self.logits(pool, tensors)
        accuracy = float((logits.argmax(axis=1) == pool.test_labels).mean())
        return {"accuracy": accuracy, "seconds": round(seconds, 2)}

    def strength(self, pool: Pool, picks: np.ndarray) -> float:
        """Choose that of the head which fine-tuning starts from, as stage `predict` does once."""
        if self.model != FINETUNE:
            return UNTRIED
        rows = Embedded.of(read_npy(self.embeddings)[: pool.n_train]).rows(picks)
        codes = pool.train_labels[picks]
        folds = stratified_folds(codes, 5, self.seed)
        return choose_strength(rows, codes, folds, len(pool.classes))[0]

    def fit_head(self, pool: Pool, picks: np.ndarray) -> Mapping[str, Tensor]:
        """Do what stage `predict` does, cross-validation and guesses for the pool included."""
        labelled = Labelled(
            indices=picks,
            codes=pool.train_labels[picks],
            classes=pool.classes,
            rounds=np.ones(len(picks), dtype=np.int64),
            is_random=np.ones(len(picks), dtype=bool),
            test_images=pool.images[:0],
            test_codes=np.empty(0, dtype=np.int64),
        )
        embedded = Embedded.of(read_npy(self.embeddings)[: pool.n_train])
        params = replace(load_section("labels", LabelsParams), model="head")
        return fit_model(
            pool, embedded, labelled, params, self.classifier, None, self.seed, POOL, MODELS
        ).tensors

    def head_logits(self, pool: Pool, tensors: Mapping[str, Tensor]) -> np.ndarray:
        """Ask a head about the test images, (n_test, n_classes)."""
        head = Head(tensors["weight"].numpy(), tensors["bias"].numpy())
        rows = read_npy(self.embeddings)[pool.n_train :]
        return head.logits(centred(rows, tensors["mean"].numpy()))

    def train(self, pool: Pool, picks: np.ndarray, strength: float) -> Mapping[str, Tensor]:
        """Train a network on all labels, the last of the six trainings of stage `predict`."""
        training = LabelTraining(
            indices=tuple(picks.tolist()),
            codes=tuple(pool.train_labels[picks].tolist()),
            n_classes=len(pool.classes),
            wanted=(),
            seed=self.seed,
            params=self.classifier,
            encoder=self.encoder,
            strength=strength,
            pool_dir=POOL,
            models_dir=MODELS,
        )
        with tempfile.TemporaryDirectory() as directory:
            return load_file(training.run(Path(directory), lambda n: None))

    def logits(self, pool: Pool, tensors: Mapping[str, Tensor]) -> np.ndarray:
        """Ask a network about the test images, (n_test, n_classes)."""
        classifier = self.classifier if self.model == NETWORK else None
        image_px = pool.images.shape[1:3]
        card = ModelCard(self.model, pool.classes, 1.0, image_px, self.encoder, classifier)
        return np.concatenate(list(model_logits(card, tensors, pool.test_images, MODELS)))


def cases_of(pool: Pool, options: argparse.Namespace) -> list[Case]:
    """Return all cases, seed by seed, so that a run that is cut off has some in full."""
    check_budgets(options.labels, pool.n_train)
    classifier = load_section("classifier", ClassifierParams)
    finetune = vars(load_section("labels", LabelsParams).finetune)
    onnx = load_section("embed", EmbedParams).onnx
    encoder = encoder_used(METHOD, load_section("encoder", EncoderParams), onnx, MODELS)
    own, existing = (EMBEDDINGS / f"{name}.npy" for name in (METHOD, EXISTING))
    settings = {
        NETWORK: (own, classifier, None),
        FINETUNE: (own, replace(classifier, **finetune), encoder),
        HEAD: (own, classifier, None),
    }
    if existing.exists():
        settings[ON_EXISTING] = (existing, classifier, None)
    return [
        Case(model, n_labels, seed, *settings[model])
        for seed in range(options.seeds)
        for model in settings
        for n_labels in sorted(options.labels, reverse=True)
    ]


def about(pool: Pool, options: argparse.Namespace) -> dict:
    """Return what the figures were made on and with."""
    return {
        **machine(),
        "torch": torch.__version__,
        "networks_at_once": options.networks,
        "heads_at_once": options.heads,
        "n_train": pool.n_train,
        "n_test": len(pool.test_labels),
        "existing": options.existing,
        "encoder": asdict(load_section("encoder", EncoderParams)),
        "epochs": load_section(METHOD, SimclrParams, shared="pretrain").epochs,
        "finetune": vars(load_section("labels", LabelsParams).finetune),
        "classifier": asdict(load_section("classifier", ClassifierParams)),
    }


def one_thread() -> None:
    """Share the cores among the processes, and start the device before the clock."""
    torch.set_num_threads(1)
    torch.zeros(1, device=pick_device())


def run(options: argparse.Namespace) -> int:
    """Measure what is missing; return the number of cases that failed."""
    profile, pool = load_experiment().profile, load_pool(POOL, needs_labels=True)
    cases = cases_of(pool, options)
    found = json.loads(options.out.read_text()).get(profile, {}) if options.out.exists() else {}
    made, before = about(pool, options), found.get("about")
    if before and any(before[key] != made[key] for key in SAME):
        raise InputError(
            f"{options.out} holds figures of {profile} by other params; give another --out or move "
            "it away"
        )
    write(options.out, profile, "about", made)
    spawn, n_failed = multiprocessing.get_context("spawn"), 0
    with (
        ProcessPoolExecutor(options.networks, spawn, one_thread) as networks,
        ProcessPoolExecutor(options.heads, spawn) as heads,
    ):
        futures = {
            (networks if case.model in (FINETUNE, NETWORK) else heads).submit(case.measure): case
            for case in cases
            if case.key not in found
        }
        for future in as_completed(futures):
            key = futures[future].key
            if error := future.exception():
                n_failed += 1
                print(f"{key}: {error!r}", file=sys.stderr, flush=True)
            else:
                write(options.out, profile, key, future.result() | {"device": device_name()})
    return n_failed


def main() -> int:
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    mode = modes.add_parser("run")
    mode.add_argument("--out", type=Path, default=Path("docs/benchmarks/label_models.json"))
    mode.add_argument("--existing", default="", help="what pretrained.npy is of, for the page")
    mode.add_argument("--labels", type=int, nargs="+", default=[100, 400, 1_000, 5_000])
    mode.add_argument("--seeds", type=int, default=3)
    mode.add_argument("--networks", type=int, default=min(8, cores), help="at once")
    mode.add_argument("--heads", type=int, default=max(1, cores - 8), help="at once")
    modes.add_parser("page")
    options = parser.parse_args()
    if options.mode == "run":
        return min(1, run(options))
    update_page("label_models", render, {})
    return 0


if __name__ == "__main__":
    sys.exit(main())
