"""Embed every image with each active encoder, and measure how good the embeddings are.

Reads   data/pool/; the encoders in models/<method>/, or the existing model that encoder.weights
        names, or the embeddings in data/pool/embeddings.npy
Writes  data/embeddings/<method>.npy (float32 n x d, rows as in the pool, test rows last) of the
        active methods, metrics/linear_eval.json
Params  profiles.<profile>.{encoder, embed}
Paper   section 5.1, linear evaluation
"""

from contextlib import nullcontext
from pathlib import Path

from zeroshot_al.base.files import replaced_directory, write_json
from zeroshot_al.base.params import load_section
from zeroshot_al.base.pool import embedding_files, load_pool
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.embedding.probe import EmbedParams, probe_all
from zeroshot_al.embedding.run import write_embeddings
from zeroshot_al.process.launch import run_shared_stage
from zeroshot_al.selfsup.encoders import EncoderParams

POOL, OUT = "data/pool", "data/embeddings"


def main(ranks: Ranks) -> None:
    """Run the stage on one of the ranks, of which the first writes the files."""
    encoder = load_section("encoder", EncoderParams)
    params = load_section("embed", EmbedParams)
    pool = load_pool(POOL)
    with replaced_directory(OUT) if ranks.is_first else nullcontext(Path()) as directory:
        write_embeddings(encoder, params.onnx, pool.images, POOL, "models", directory, ranks)
    if not ranks.is_first:
        return
    results = {}
    # A probe learns from labels and is scored on test images.
    if pool.is_labelled and pool.n_train < len(pool.ids):
        results = probe_all(embedding_files(OUT), pool, params)
    write_json("metrics/linear_eval.json", results)


if __name__ == "__main__":
    run_shared_stage(main)
