"""Bring the pool's images into one array, in an order that tells nothing of their labels.

Reads   the source: torchvision's archive, a local copy, scikit-learn, or the user's own images
Writes  data/pool/ (images.npy, index.csv; of the user's images also rejected.csv, of unlabelled
        ones duplicates.csv, of ready-made embeddings also embeddings.npy)
Params  profiles.<profile>.data; the budget is only compared with the pool, before hours are spent
Paper   section 5.1, data sets

The environment variable ZEROSHOT_AL_DATA (default data/raw) names the folder that holds, or gets,
the published data sets, one folder a source.
"""

import os

from zeroshot_al.base.files import replaced_directory
from zeroshot_al.base.params import load_experiment, load_section
from zeroshot_al.base.pool import check_budgets, save_pool
from zeroshot_al.process.stage import run_stage
from zeroshot_al.sources.load import load_source
from zeroshot_al.sources.params import DataParams


def main() -> None:
    """Run the stage."""
    params = load_section("data", DataParams)
    budget = load_experiment().budget  # not among the stage's params: no pool depends on it
    raw_dir = os.environ.get("ZEROSHOT_AL_DATA") or "data/raw"
    with replaced_directory("data/pool") as directory:
        pool = load_source(params, raw_dir, directory)
        check_budgets([budget], pool.n_train)
        save_pool(pool, directory)


if __name__ == "__main__":
    run_stage(main)
