"""How good frozen features are: linear evaluation and k nearest neighbours."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_npy
from zeroshot_al.base.pool import Pool
from zeroshot_al.embedding.onnx_model import OnnxParams
from zeroshot_al.process.memory import check_memory

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbedParams:
    """Params section `embed`: of the two probes, and of an ONNX model."""

    linear_c: float
    linear_max_iter: int
    knn_k: int
    knn_temperature: float
    onnx: OnnxParams


def probe_all(
    files: Mapping[str, Path], pool: Pool, params: EmbedParams
) -> dict[str, dict[str, float]]:
    """Probe the features of each method, and the pixels, one at a time and where memory lasts.

    Parameters
    ----------
    files
        .npy files of float32 (n, n_dims) features by method.
    pool
        Of n labelled images, some of them test images.

    Returns
    -------
    dict of dict
        As `probe` returns, by method and under "pixels".
    """
    results = {}
    for name, file in files.items():
        rows = read_npy(file, memory_map=True)
        if _probe_fits(name, rows.shape):
            results[name] = probe(rows, pool, params)
    shape = (len(pool.images), pool.images[0].size)
    if pool.has_images and _probe_fits("pixels", shape):
        pixels = pool.images.reshape(shape).astype(np.float32) / 255
        results["pixels"] = probe(pixels, pool, params)
    for name, accuracies in results.items():
        logger.info("%s: %s", name, accuracies)
    return results


def _probe_fits(name: str, shape: tuple[int, int]) -> bool:
    """Return whether there is memory for a probe on float32 features of this shape.

    It only shows how good they are, so without the memory it is left out, with a warning.
    """
    try:
        # A standardised copy and what the fit makes of it, or three copies for the neighbours.
        what = f"the probe of {name}, {shape[0]:,} x {shape[1]:,},"
        check_memory(3 * 4 * shape[0] * shape[1], what, "it is left out")
    except InputError as error:
        logger.warning("%s", error)
        return False
    return True


def probe(features: np.ndarray, pool: Pool, params: EmbedParams) -> dict[str, float]:
    """Return both test accuracies below, of float32 (n, n_dims) features of a labelled pool.

    The features may be a memory map.
    """
    train, test = features[: pool.n_train], features[pool.n_train :]
    arguments = (train, pool.train_labels, test, pool.test_labels, params)
    return {"linear": linear_accuracy(*arguments), "knn": knn_accuracy(*arguments)}


def linear_accuracy(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    params: EmbedParams,
) -> float:
    """Return the test accuracy of logistic regression on frozen features.

    Parameters
    ----------
    train, test
        float32 (n, n_dims), standardised here by the training features.
    train_labels, test_labels
        int64 (n,).

    References
    ----------
    Paper: section 5.1, linear evaluation. Deviation: fitted to convergence by L-BFGS on cached
    features instead of by SGD on augmented images.
    """
    scaler = StandardScaler(copy=True).fit(train)
    model = LogisticRegression(C=params.linear_c, max_iter=params.linear_max_iter)
    model.fit(scaler.transform(train), train_labels)
    return float(model.score(scaler.transform(test), test_labels))


def knn_accuracy(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    params: EmbedParams,
) -> float:
    """Return the test accuracy of weighted nearest neighbours by cosine similarity.

    References
    ----------
    Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", 2018,
    section 3.4.
    """
    model = KNeighborsClassifier(
        min(params.knn_k, len(train)),
        metric="cosine",
        weights=lambda distances: np.exp((1 - distances) / params.knn_temperature),
    )
    with config_context(working_memory=64):  # MiB; its own 1024 are more than some probes take
        return float(model.fit(train, train_labels).score(test, test_labels))
