"""How good frozen features are: linear evaluation and k nearest neighbours."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from lightly.utils.benchmarking.knn import knn_predict
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from zeroshot_al.errors import InputError
from zeroshot_al.memory import check_memory, images_text
from zeroshot_al.pool import Pool

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbedParams:
    """Params section `embed`: of the two probes."""

    linear_c: float
    linear_max_iter: int
    knn_k: int
    knn_temperature: float


def pixel_probe_fits(images: np.ndarray) -> bool:
    """Return whether there is memory for a probe on the pixels of uint8 (n, h, w, 3).

    It only shows what features add, so without the memory it is left out, with a warning.
    """
    what = f"the probe on the pixels of {images_text(len(images), images.shape[1:])}"
    try:
        # In float32: the pixels, a standardised copy, and one on the way to each.
        check_memory(3 * 4 * images.size, what, "it is left out")
    except InputError as error:
        logger.warning("%s", error)
        return False
    return True


def probe(features: np.ndarray, pool: Pool, params: EmbedParams) -> dict[str, float]:
    """Return both test accuracies below, of float32 (n, n_dims) features of a labelled pool."""
    train, test = features[: pool.n_train], features[pool.n_train :]
    arguments = (train, pool.train_labels, test, pool.test_labels, params)
    return {"linear": linear_accuracy(*arguments), "knn": knn_accuracy(*arguments)}


def linear_accuracy(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray,
    params: EmbedParams,
) -> float:  # fmt: skip
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
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray,
    params: EmbedParams, batch_size: int = 500,
) -> float:  # fmt: skip
    """Return the test accuracy of weighted nearest neighbours by cosine similarity.

    References
    ----------
    Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", 2018,
    section 3.4.
    """
    bank = functional.normalize(torch.from_numpy(train), dim=1).T.contiguous()
    bank_labels = torch.from_numpy(train_labels)
    queries = functional.normalize(torch.from_numpy(test), dim=1)
    n_classes = int(train_labels.max()) + 1
    k = min(params.knn_k, len(train))
    hits = 0
    for start in range(0, len(test), batch_size):
        predicted = knn_predict(
            queries[start : start + batch_size], bank, bank_labels, n_classes, k,
            params.knn_temperature,
        )  # fmt: skip
        expected = torch.from_numpy(test_labels[start : start + batch_size])
        hits += int((predicted[:, 0] == expected).sum())
    return hits / len(test)
