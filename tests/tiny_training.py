"""Tiny params, images and processes for the tests of the training engine."""

import multiprocessing
import os
import signal
import time

import numpy as np
import torch

from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.embedding.features import feature_batches
from zeroshot_al.methods.moco import MocoParams
from zeroshot_al.methods.simclr import SimclrParams
from zeroshot_al.selfsup.augment_contrastive import ViewParams
from zeroshot_al.selfsup.encoders import EncoderParams

# One thread here as in the stages' workers: tiny tensors gain nothing from two, and a forked
# child must not meet a thread pool that stayed behind in its parent.
torch.set_num_threads(1)

ENCODER = EncoderParams("resnet-9", 0.125)
HAS_CUDA = torch.cuda.is_available()


def view_params(**changes) -> ViewParams:
    """The paper's rates at 8 pixels."""
    values = {
        "size_px": 8,
        "min_area": 0.2,
        "flip_rate": 0.5,
        "jitter_rate": 0.8,
        "grayscale_rate": 0.2,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.1,
        "blur_rate": 0.0,
        "solarize_rate": 0.0,
    }
    return ViewParams(**values | changes)


def no_change(size_px: int, **changes) -> ViewParams:
    """Views that show the whole image as it is."""
    off = {"min_area": 1.0, "flip_rate": 0.0, "jitter_rate": 0.0, "grayscale_rate": 0.0}
    return view_params(size_px=size_px, **off | changes)


_PRETRAIN = {
    "active": True,
    "seed": 0,
    "epochs": 2,
    "optimizer": "sgd",
    "batch_size": 8,
    "learning_rate": 0.05,
    "warmup_epochs": 0,
    "weight_decay": 5e-4,
    "temperature": 0.2,
    "head_hidden": 16,
    "head_dims": 8,
    "views": view_params(),
}


def simclr_params(**changes) -> SimclrParams:
    return SimclrParams(**_PRETRAIN | changes)


def moco_params(**changes) -> MocoParams:
    own = {"momentum": 0.9, "queue_size": 16, "key_splits": 2, "symmetric": False}
    return MocoParams(**_PRETRAIN | own | changes)


def classifier_params(**changes) -> ClassifierParams:
    values = {
        "name": "wide-resnet",
        "depth": 10,
        "width": 1,
        "stem_stride": 1,
        "whitening": False,
        "steps": 12,
        "batch_size": 8,
        "learning_rate": 0.1,
        "warmup_steps": 2,
        "decay": "cosine",
        "weight_decay": 5e-4,
        "label_smoothing": 0.0,
        "crop_px": 8,
        "pad_px": 1,
        "flip_rate": 0.5,
        "cutout_px": 2,
        "test_flip": False,
    }
    return ClassifierParams(**values | changes)


def noise(n: int, height: int = 8, width: int = 8, seed: int = 0) -> np.ndarray:
    """uint8 (n, height, width, 3), every pixel uniform."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def tinted(n: int, seed: int = 0, side: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Noise with one bright channel, and which: an easy problem of three classes."""
    labels = np.arange(n) % 3
    images = noise(n, side, side, seed) // 2
    images[np.arange(n), :, :, labels] += 100
    return images, labels


def features_of(encoder: torch.nn.Module, images: np.ndarray, *batch_size: int) -> np.ndarray:
    """All features at once, computed on the CPU."""
    return np.concatenate(list(feature_batches(encoder, images, torch.device("cpu"), *batch_size)))


def weights(module: torch.nn.Module) -> dict[str, bytes]:
    """The bytes of every parameter and buffer, also of those that a state dict leaves out."""
    named = (*module.named_parameters(), *module.named_buffers(remove_duplicate=False))
    return {name: value.detach().cpu().contiguous().numpy().tobytes() for name, value in named}


class Stop(Exception):
    """The interruption of a training."""


def stop_at(last: int):
    """Return an `on_step` that interrupts a training once so many steps are done."""
    done = 0

    def on_step(n: int) -> None:
        nonlocal done
        done += n
        if done >= last:
            raise Stop

    return on_step


def start(function, *args) -> multiprocessing.Process:
    """Run a module-level function in a process of its own."""
    # A fork spares the import of torch but cannot use CUDA.
    context = multiprocessing.get_context("spawn" if HAS_CUDA else "fork")
    process = context.Process(target=function, args=args)
    process.start()
    return process


def kill_when(process: multiprocessing.Process, ready, timeout_s: float = 600.0) -> None:
    """Kill -9 the process as soon as ``ready()`` holds."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        assert process.is_alive(), f"the process ended early, exit code {process.exitcode}"
        assert time.monotonic() < deadline, "the process did not get far enough"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
