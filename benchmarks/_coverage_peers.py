"""What kernel coverage is timed beside: the definition, and packages with an environment of theirs.

Their python runs this file as a program, with the standard library and NumPy alone imported at the
top:

    python benchmarks/_coverage_peers.py NAME ROWS.npy N_SELECT
"""

import json
import resource
import sys
import time

import numpy as np

PEERS = ("scikit-activeml", "apricot")


def definition(rows: np.ndarray, n_select: int) -> np.ndarray:
    """One n x n float32 matrix, and all gains again for every pick."""
    import torch

    points = torch.from_numpy(rows)
    kernel = (points @ points.T).mul_(2).sub_(2).clamp_(max=0).exp_()
    covered = torch.zeros(len(points))
    order: list[int] = []
    for _ in range(n_select):
        gains = torch.cat([(part - covered).relu_().sum(1) for part in kernel.split(1000)])
        gains[order] = -1
        order.append(int(gains.argmax()))
        covered = torch.maximum(covered, kernel[order[-1]])
    return np.array(order)


def scikit_activeml(rows: np.ndarray, n_select: int) -> np.ndarray:
    from skactiveml.pool import MaxHerding

    herding = MaxHerding(normalize_samples=False, metric_dict={"gamma": 1.0}, random_state=0)
    return herding.query(rows, np.full(len(rows), np.nan), batch_size=n_select)


def apricot(rows: np.ndarray, n_select: int) -> np.ndarray:
    from apricot import FacilityLocationSelection

    kernel = np.exp(2 * (rows @ rows.T) - 2).astype(np.float64)
    choice = FacilityLocationSelection(n_select, metric="precomputed", optimizer="lazy")
    return choice.fit(kernel).ranking


def timed(choose, rows: np.ndarray, n_select: int) -> dict:
    """Seconds by the clock and of the processor, memory added to the peak, and the picks."""
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # noqa: E731
    before, start, processor = peak(), time.perf_counter(), time.process_time()
    order = choose(rows, n_select)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_s": time.process_time() - processor,
        "added_gib": peak() - before,
        "order": [int(index) for index in order],
    }


def main(name: str, data: str, n_select: str) -> None:
    """One order, as JSON on the last line."""
    rows = np.load(data, allow_pickle=False)
    choose = {"definition": definition, "scikit-activeml": scikit_activeml, "apricot": apricot}
    choose[name](rows[:500], 5)  # imports and compilation
    print(json.dumps(timed(choose[name], rows, int(n_select))))


if __name__ == "__main__":
    main(*sys.argv[1:])
