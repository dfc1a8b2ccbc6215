"""Embed every image with each active encoder, and measure how good the embeddings are.

Reads   data/pool/; models/moco.safetensors, models/simclr.safetensors, or the existing model that
        encoder.weights names, or the embeddings in data/pool/embeddings.npy
Writes  data/embeddings/<method>.npy (float32 n x d, rows as in the pool, test rows last) of the
        active methods, metrics/linear_eval.json
Params  profiles.<profile>.{encoder, embed}
Paper   section 5.1, linear evaluation
"""

from contextlib import ExitStack
from pathlib import Path

from zeroshot_al.base.files import atomic_path, read_npy, write_json, write_npy
from zeroshot_al.base.params import load_section
from zeroshot_al.base.pool import Pool, load_pool
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.embedding.features import load_method, write_features
from zeroshot_al.embedding.probe import EmbedParams, probe_all
from zeroshot_al.engine.runtime import pick_device
from zeroshot_al.orders import ZERO_SHOT
from zeroshot_al.process.launch import run_shared_stage
from zeroshot_al.selfsup.encoders import READY_MADE, EncoderParams, active_methods

OUT = "data/embeddings"


def main(ranks: Ranks) -> None:
    """Run the stage on one of the ranks, of which the first writes the files."""
    encoder_params = load_section("encoder", EncoderParams)
    params = load_section("embed", EmbedParams)
    pool = load_pool("data/pool")
    methods = active_methods(encoder_params)
    embed(methods, encoder_params, pool, ranks)
    if not ranks.is_first:
        return
    results = {}
    # A probe learns from labels and is scored on test images.
    if pool.is_labelled and pool.n_train < len(pool.ids):
        results = probe_all({name: f"{OUT}/{name}.npy" for name in methods}, pool, params)
    write_json("metrics/linear_eval.json", results)


def embed(methods: tuple[str, ...], params: EncoderParams, pool: Pool, ranks: Ranks) -> None:
    """Write each method's float32 (n, n_dims) embeddings of all images of the pool."""
    ready_made = Path("data/pool") / READY_MADE
    if ready_made.exists():
        if ranks.is_first:
            write_npy(f"{OUT}/{methods[0]}.npy", read_npy(ready_made, memory_map=True))
    else:
        # All encoders and features before the first file: a bad one leaves every file as it was.
        encoders = {name: load_method(f"models/{name}.safetensors", params) for name in methods}
        with ExitStack() as files:
            for method, encoder in encoders.items():
                path = Path(f"{OUT}/{method}.npy")
                if ranks.is_first:
                    path = files.enter_context(atomic_path(path))
                write_features(path, encoder, pool.images, pick_device(), ranks)
    if ranks.is_first:
        for method in set(ZERO_SHOT) - set(methods):
            # DVC empties the directory; without DVC, an earlier run's file would stay.
            Path(f"{OUT}/{method}.npy").unlink(missing_ok=True)


if __name__ == "__main__":
    run_shared_stage(main)
