"""What our k-center is timed beside: the naive way, a floor, and other packages.

The packages have an environment of their own. Its python runs this file as a program, with the
standard library and NumPy alone imported at the top:

    python benchmarks/_kcenter_peers.py NAME POINTS.npy START N_SELECT N_SELECT
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from _kcenter_page import PEERS


def extrapolate(picks: tuple[int, int], times: tuple[float, float], budget: int) -> float:
    """Seconds for `budget` picks from two short runs: the set-up once, then the cost of a pick."""
    per_pick = (times[1] - times[0]) / (picks[1] - picks[0])
    return times[0] + per_pick * (budget - picks[0])


def naive(points, budget: int) -> None:
    """One float32 matrix-vector product a pick, with torch and reused buffers."""
    import torch

    points = torch.from_numpy(points)
    nearest, product = torch.full((len(points),), torch.inf), torch.empty(len(points))
    pick = 0
    for _ in range(budget):
        torch.mv(points, points[pick], out=product)
        torch.minimum(nearest, product.mul_(-2).add_(2), out=nearest)
        nearest[pick] = -1
        pick = int(nearest.argmax())


def product_floor(points, budget: int, dtype: str) -> None:
    """All points times the first `budget`, in tiles into one buffer: products and nothing else."""
    import torch

    low = torch.from_numpy(points).to(getattr(torch, dtype))
    out = low.new_empty(1024 * 1024)
    for rows in low.split(1024):
        for columns in low[:budget].split(1024):
            tile = out[: len(rows) * len(columns)].view(len(rows), len(columns))
            torch.mm(rows, columns.T, out=tile)


def time_peer(row: dict, name: str, data: Path, reference: np.ndarray, options) -> None:
    """Add one run of a peer to its row, or why there is none."""
    if not options.peers_python:
        row["note"] = "missing: no --peers-python given"
        return
    picks = (options.peer_picks // 4, options.peer_picks)
    command = [options.peers_python, __file__, name, str(data), str(reference[0]), *map(str, picks)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        row["note"] = f"missing: {reason[:120]}"
        return
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    row["runs_s"].append(extrapolate(picks, answer["times"], options.budget))
    same = answer["picks"] == reference[: len(answer["picks"])].tolist()
    agreement = f"first {picks[1]} picks {'equal ours' if same else 'differ from ours'}"
    row["note"] = f"{PEERS[name]}; extrapolated from {picks[1]} picks; {agreement}"


def peer(name: str, points, start: int, n_select: int) -> list[int]:
    """The first `n_select` picks of a peer, as it is documented."""
    if name == "scikit-activeml":
        from skactiveml.pool import CoreSet

        labels = np.full(len(points), np.nan)
        labels[start] = 0
        picks = CoreSet(random_state=0).query(points, labels, batch_size=n_select - 1)
        return [start, *picks.tolist()]
    if name == "fpsample":
        import fpsample

        return fpsample.fps_sampling(points, n_select, start_idx=start).tolist()
    import torch
    from anomalib.models.components.sampling.k_center_greedy import KCenterGreedy

    # The half avoids losing one pick to truncation.
    sampler = KCenterGreedy(torch.from_numpy(points), (n_select + 0.5) / len(points))
    return [int(index) for index in sampler.select_coreset_idxs()]


def main(name: str, data: str, start: str, *n_selects: str) -> None:
    """Two short runs, as JSON on the last line."""
    points = np.load(data, allow_pickle=False)
    peer(name, points[:2000].copy(), 0, 5)  # imports and compilation
    picks, times = [], []
    for n_select in map(int, n_selects):
        began = time.perf_counter()
        picks = peer(name, points, int(start), n_select)
        times.append(time.perf_counter() - began)
    print(json.dumps({"times": times, "picks": picks}))


if __name__ == "__main__":
    main(*sys.argv[1:])
