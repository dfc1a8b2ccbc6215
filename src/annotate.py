"""Write the next `budget` picks for annotation tools, and a gallery to look at them.

Reads   data/pool/, data/embeddings/, data/zero_shot_orders/ or, by `rule`, data/orders/;
        data/labels/ and batches/, what is no pick any more; data/predictions/, guesses
Writes  data/annotate/ (label.html, gallery.html, order.csv, list.txt, a file or two for each of
        Label Studio, CVAT, FiftyOne; images/ if the pool's images have no files of their own)
Params  budget, rule, profiles.<profile>.{annotate, data, order}
Paper   not in it: what comes after its order
"""

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import atomic_path, read_csv, read_npy, replaced_directory
from zeroshot_al.base.params import load_experiment, load_section
from zeroshot_al.base.pool import HEADER, load_pool
from zeroshot_al.gallery.annotation import AnnotateParams, make_picks, write_exports
from zeroshot_al.gallery.guesses import read_guesses
from zeroshot_al.gallery.label_page import write_label_pages
from zeroshot_al.gallery.overview import make_overview
from zeroshot_al.gallery.page import render_gallery
from zeroshot_al.kcenter.input import canonical_rows, check_fits
from zeroshot_al.orders import OrderParams, choose_order
from zeroshot_al.process.stage import run_stage
from zeroshot_al.report.methods import registered
from zeroshot_al.rounds import known_indices, next_batch, read_batches
from zeroshot_al.sources.image_files import image_files
from zeroshot_al.sources.left_out import read_left_out
from zeroshot_al.sources.params import DataParams


def main() -> None:
    """Run the stage."""
    experiment = load_experiment()
    budget, rule = experiment.budget, experiment.rule
    params = load_section("annotate", AnnotateParams)
    data = load_section("data", DataParams)
    pool = load_pool("data/pool")
    left_out = read_left_out("data/pool")
    method = load_section("order", OrderParams).method
    chosen = choose_order(rule, method, "data/zero_shot_orders", "data/orders", pool.train_ids)
    known = known_indices(pool, "data/labels", "batches")
    n_left = len(set(chosen.picks) - set(known.tolist()))
    if budget > n_left:
        raise InputError(
            f"budget {budget} exceeds the {n_left} picks left of {chosen.path}; lower it in "
            f"params.yaml, or make the order longer (order.n_select, {rule}_order)"
        )
    share = 0.0 if pool.is_labelled else params.random_share
    order, reasons = next_batch(chosen, known, pool.n_train, budget, share, params.seed)
    method = chosen.method
    embeddings = read_npy(f"data/embeddings/{method}.npy", memory_map=True)
    check_fits(*embeddings.shape)
    rows = canonical_rows(embeddings[: pool.n_train])
    files = image_files(data, pool.train_ids)
    guesses = read_guesses("data/predictions/predictions.csv", [pool.ids[i] for i in order])
    picks = make_picks(pool, rows, order, reasons, known, left_out, params, files, guesses.by_id)
    labels = read_csv("data/labels/labels.csv", HEADER)
    classes = pool.classes or sorted({row["label"] for row in labels})
    (entry,) = registered([chosen.name])
    overview = make_overview(
        entry.label, rule, pool, rows, picks, known, left_out, params, files, classes
    )
    images = pool.images[order] if files is None and params.write_images else None
    with replaced_directory("data/annotate") as directory:
        write_exports(
            directory,
            picks,
            images,
            f"label-first-{method}",
            "annotate" if files is None else files.folder.name,
            classes,
            guesses.version,
        )
        batch = max(read_batches("batches"), default=0) + 1
        pages = write_label_pages(directory, picks, images, rows[order], classes, batch)
        with atomic_path(directory / "gallery.html") as temporary:
            temporary.write_bytes(render_gallery(overview, pages).encode())


if __name__ == "__main__":
    run_stage(main)
