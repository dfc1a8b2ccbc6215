"""Make the recommended order of the pool on each method's embeddings, once.

Reads   data/embeddings/, data/pool/, data/labels/labelled.csv, batches/
Writes  data/zero_shot_orders/<method>.csv (rank, index, id, reason); any prefix is the selection
        for that budget
Params  profiles.<profile>.order
Paper   not in it: beside its k-center
"""

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_npy, replaced_directory
from zeroshot_al.base.params import load_section
from zeroshot_al.base.pool import embedding_files, load_pool
from zeroshot_al.coverage import zero_shot_order
from zeroshot_al.orders import OrderParams, write_reasoned_order
from zeroshot_al.process.stage import run_stage
from zeroshot_al.rounds import known_indices


def main() -> None:
    """Run the stage."""
    params = load_section("order", OrderParams)
    pool = load_pool("data/pool")
    ids = pool.train_ids
    known = known_indices(pool, "data/labels", "batches")
    n_left = len(ids) - len(known)
    if not n_left:
        raise InputError(
            f"all {len(ids)} images are labelled or were given out; nothing is left to order; add "
            "images, or remove a file of batches/, whose unlabelled images are then picked again"
        )
    # All orders before the first file: bad embeddings of one method leave all files as they were.
    orders = {
        method: zero_shot_order(
            read_npy(file, memory_map=True)[: len(ids)],
            min(params.n_select, n_left),
            # What is labelled or was given out is a pick from the start, and not in the order.
            initial_indices=known,
            n_targets=min(params.n_targets, len(ids)),
            seed=params.seed,
        )
        for method, file in embedding_files("data/embeddings").items()
    }
    with replaced_directory("data/zero_shot_orders") as directory:
        for method, found in orders.items():
            write_reasoned_order(directory / f"{method}.csv", found.order, found.reasons, ids)


if __name__ == "__main__":
    run_stage(main)
