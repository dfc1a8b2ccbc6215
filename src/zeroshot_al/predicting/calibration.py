"""Probabilities that mean what they say: one temperature, and the error that is left."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

MOST_BINS, LABELS_A_BIN = 10, 100  # fewer labels make an error out of chance alone
LOG_TEMPERATURES = (-4.0, 4.0)  # of e: from 0.02 to 55


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return the calibrated probabilities, float64, of logits (..., n_classes)."""
    return softmax(logits.astype(np.float64) / temperature, axis=-1)


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative log-probability of the labels, int64 (n,)."""
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Find what to divide logits by for the best probabilities of labels that were held out.

    Parameters
    ----------
    logits, labels : ndarray of shape (n, n_classes) and (n,)
        Of at least one label; 1 without.

    References
    ----------
    Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2.
    """
    if not len(labels):
        return 1.0
    logits = logits.astype(np.float64)
    found = minimize_scalar(
        lambda log: log_loss(logits / np.exp(log), labels),
        bounds=LOG_TEMPERATURES,
        method="bounded",
    )
    return float(np.exp(found.x))


def calibration_error(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray) -> float:
    """Return the expected calibration error: how far confidence is from accuracy, in the mean.

    Parameters
    ----------
    confidence, right, weights : ndarray of shape (n,)
        Probability of the guess, whether it is right, and how much each counts.

    References
    ----------
    Guo et al., section 2; bins of equally many labels, as few labels leave bins of equal width
    empty.
    """
    error = 0.0
    n_bins = min(MOST_BINS, max(1, len(right) // LABELS_A_BIN))
    for part in np.array_split(np.argsort(confidence, kind="stable"), n_bins):
        error += abs(np.sum(weights[part] * (confidence[part] - right[part])))
    return float(error / weights.sum())
