"""Measure how many random labels each order's labels are worth, with frozen features.

Reads   data/pool/, data/embeddings/, models/<method>/ to embed broken images
Writes  plots/probe_curves.csv, plots/probe_curves.png, metrics/probe/orders.json
Params  profiles.<profile>.{embed, encoder, probe}
Paper   not in it
"""

from dataclasses import astuple
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_npy, write_csv, write_json
from zeroshot_al.base.params import load_section
from zeroshot_al.base.pool import Pool, embedding_files, load_pool
from zeroshot_al.embedding.onnx_model import OnnxParams
from zeroshot_al.embedding.probe import EmbedParams
from zeroshot_al.embedding.run import load_encoders
from zeroshot_al.engine.checkpoint import checkpoint_root, discard, fingerprint
from zeroshot_al.probing.broken import broken_images, write_broken_features
from zeroshot_al.probing.pools import ProbeParams, broken_counts
from zeroshot_al.probing.resample import KINDS, probe_side_by_side
from zeroshot_al.process.stage import run_stage
from zeroshot_al.report.figures import save_figure
from zeroshot_al.report.labels_saved import CSV_HEADER, judge, summarise_probe
from zeroshot_al.report.labels_saved_views import plot_labels_saved
from zeroshot_al.selfsup.encoders import READY_MADE, EncoderParams


def main() -> None:
    """Run the stage."""
    params = load_section("probe", ProbeParams)
    encoder, onnx = load_section("encoder", EncoderParams), load_section("embed", EmbedParams).onnx
    pool = load_pool("data/pool", needs_labels=True)
    files = embedding_files("data/embeddings")
    if pool.n_train == len(pool.ids):
        raise InputError("the pool has no test images to probe orders on; give it some")
    features = [read_npy(file, memory_map=True) for file in files.values()]
    code = fingerprint(params, pool.train_labels, pool.test_labels, list(files), *features)
    directory = checkpoint_root() / "probe_curves" / code
    broken = embed_broken(pool, params, encoder, onnx, directory)
    n_all = int(any(budget < pool.n_train for budget in params.budgets.all))
    methods = [*files]
    jobs = [
        (
            *(kind, number, method),
            {name: files[name] for name in (method, methods[place - 1])},  # and of another one
            *(broken.get(method), "data/pool", params),
            directory / f"{kind}-{method}-{number}.json",
        )
        for kind in KINDS
        for place, method in enumerate(methods)
        for number in range(n_all if kind == "all" else params.pools.n_resamples)
        if kind != "broken" or method in broken
    ]
    found = probe_side_by_side(jobs)
    results = [(job[2], result) for job, result in zip(jobs, found, strict=True)]
    rows = summarise_probe(results, params.pools.seed)
    write_csv("plots/probe_curves.csv", CSV_HEADER, map(astuple, rows))
    save_figure(plot_labels_saved(rows), "plots/probe_curves.png")
    write_json("metrics/probe/orders.json", judge(rows, results))
    discard(directory)


def embed_broken(
    pool: Pool, params: ProbeParams, encoder: EncoderParams, onnx: OnnxParams, directory: Path
) -> dict[str, str]:
    """Write the features of broken images by each encoder; none where there are no pixels."""
    if Path("data/pool", READY_MADE).exists() or not pool.has_images:
        return {}
    n_images = params.pools.n_resamples * broken_counts(pool.n_train, params.pools)[1]
    images = broken_images(n_images, *pool.images.shape[1:3], params.pools.seed)
    return write_broken_features(images, load_encoders(encoder, onnx, "models"), directory)


if __name__ == "__main__":
    run_stage(main)
