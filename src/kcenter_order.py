"""Order the whole pool by greedy k-center on each method's embeddings, once.

Reads   data/embeddings/, data/pool/
Writes  data/orders/<method>.csv (rank, index, id, radius); any prefix is the selection for that
        budget
Params  profiles.<profile>.kcenter
Paper   section 4, algorithm 1
"""

from dataclasses import dataclass

from zeroshot_al.base.files import read_npy, replaced_directory
from zeroshot_al.base.params import load_section
from zeroshot_al.base.pool import embedding_files, load_pool
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.kcenter import kcenter_order
from zeroshot_al.orders import write_order
from zeroshot_al.process.launch import run_shared_stage


@dataclass(frozen=True)
class KcenterParams:
    """Params section `kcenter`: how many random start points, and the seed that draws them."""

    n_initial: int
    seed: int


def main(ranks: Ranks) -> None:
    """Run the stage on one of the ranks, of which the first writes the files."""
    params = load_section("kcenter", KcenterParams)
    pool = load_pool("data/pool")
    ids = pool.train_ids
    # All orders before the first file: bad embeddings of one method leave all files as they were.
    orders = {
        method: kcenter_order(
            read_npy(file, memory_map=True)[: len(ids)],
            len(ids),
            n_initial=params.n_initial,
            seed=params.seed,
            progress=True,
            ranks=ranks,
        )
        for method, file in embedding_files("data/embeddings").items()
    }
    if not ranks.is_first:
        return
    with replaced_directory("data/orders") as directory:
        for method, found in orders.items():
            write_order(directory / f"{method}.csv", found.order, found.radius, ids)


if __name__ == "__main__":
    run_shared_stage(main)
