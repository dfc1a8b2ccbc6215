"""How good a model is on the pool, from labels of images that were chosen to be unusual.

Each label counts for more or less than one, so that the labels together are as sure and as densely
placed as the pool: the regression estimator of survey sampling (docs/benchmarks/labels.md).
Weighting each label by the number of images nearest to it was tried: 4 to 12 points too high.
"""

from dataclasses import dataclass

import numpy as np

Z = 1.96  # of a 95% interval
N_SAMPLE, N_NEIGHBOURS = 2000, 10


@dataclass(frozen=True)
class Estimate:
    """A share, or a difference of shares, and its 95% interval, from `n` labels."""

    value: float
    low: float
    high: float
    n: int

    def widened(self, error: float) -> "Estimate":
        """Add a standard error that is not in the interval."""
        half = float(np.hypot((self.high - self.low) / 2, Z * error))
        return Estimate(self.value, self.value - half, self.value + half, self.n)


def density(rows: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Return the mean cosine similarity to the nearest images of a sample, float32 (n,).

    Parameters
    ----------
    rows, sample : ndarray of shape (n, n_dims) and (n_sample, n_dims), float32
        Of length 1. A row that is in the sample is not its own neighbour.
    """
    n = min(N_NEIGHBOURS + 1, len(sample))
    nearest = np.partition(rows @ sample.T, len(sample) - n, axis=1)[:, -n:]
    nearest.sort(axis=1)
    itself = nearest[:, -1] > 1 - 1e-5
    return np.where(itself, nearest[:, :-1].mean(axis=1), nearest[:, 1:].mean(axis=1))


def sample_of(n_images: int, seed: int) -> np.ndarray:
    """Draw the images that stand for the pool in `density`, sorted int64 indices."""
    return np.sort(np.random.default_rng(seed).permutation(n_images)[:N_SAMPLE])


def weights_for(labelled: np.ndarray, pool_mean: np.ndarray) -> np.ndarray:
    """Weigh labels so that they have the pool's mean in each property.

    Parameters
    ----------
    labelled : ndarray of shape (n, n_properties)
    pool_mean : ndarray of shape (n_properties,)

    Returns
    -------
    ndarray of shape (n,), float64
        With the sum 1; some may be below 0.

    References
    ----------
    Deville and Särndal, "Calibration Estimators in Survey Sampling", 1992, section 1: the
    generalised regression estimator.
    """
    n = len(labelled)
    centre = labelled.mean(axis=0)
    spread = labelled - centre
    # A property in which all labels are equal says nothing.
    slope = np.linalg.pinv(spread.T @ spread) @ (pool_mean - centre)
    return 1 / n + spread @ slope


def weighted(values: np.ndarray, weights: np.ndarray, properties: np.ndarray) -> Estimate:
    """Estimate the pool's mean of what is known of the labels, such as whether a guess is right.

    Parameters
    ----------
    values, weights : ndarray of shape (n,)
        Weights of `weights_for`.
    properties : ndarray of shape (n, n_properties)
        What the weights were made for: the error is what a linear fit to them leaves.
    """
    n = len(values)
    design = np.column_stack([np.ones(n), properties])
    rest = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    n_free = max(1, n - design.shape[1])
    error = float(np.sqrt(np.sum((weights * rest) ** 2) * n / n_free))
    value = float(weights @ values)
    return Estimate(value, value - Z * error, value + Z * error, n)


def share(n_right: int, n: int) -> Estimate:
    """Estimate a share from a simple random sample.

    References
    ----------
    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    centre = (n_right + Z**2 / 2) / (n + Z**2)
    half = Z * np.sqrt(n_right * (n - n_right) / n + Z**2 / 4) / (n + Z**2)
    return Estimate(n_right / n, float(centre - half), float(centre + half), n)


def difference(values: np.ndarray) -> Estimate:
    """Estimate the mean of paired differences of a simple random sample, (n,), two at least."""
    value, half = float(values.mean()), Z * float(values.std(ddof=1)) / len(values) ** 0.5
    return Estimate(value, value - half, value + half, len(values))
