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

from zeroshot_al.base.files import atomic_path, read_npy, replaced_directory, write_json, write_npy
from zeroshot_al.base.params import load_section
from zeroshot_al.base.pool import Pool, load_pool
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.embedding.features import write_features
from zeroshot_al.embedding.load import EXISTING, load_encoders
from zeroshot_al.embedding.onnx_model import OnnxParams
from zeroshot_al.embedding.probe import EmbedParams, probe_all
from zeroshot_al.engine.runtime import pick_device
from zeroshot_al.process.launch import run_shared_stage
from zeroshot_al.selfsup.encoders import READY_MADE, EncoderParams

OUT = "data/embeddings"


def main(ranks: Ranks) -> None:
    """Run the stage on one of the ranks, of which the first writes the files."""
    encoder_params = load_section("encoder", EncoderParams)
    params = load_section("embed", EmbedParams)
    pool = load_pool("data/pool")
    with replaced_directory(OUT) if ranks.is_first else nullcontext(Path()) as directory:
        embed(encoder_params, params.onnx, pool, directory, ranks)
    if not ranks.is_first:
        return
    results = {}
    # A probe learns from labels and is scored on test images.
    if pool.is_labelled and pool.n_train < len(pool.ids):
        files = {file.stem: file for file in sorted(Path(OUT).glob("*.npy"))}
        results = probe_all(files, pool, params)
    write_json("metrics/linear_eval.json", results)


def embed(
    params: EncoderParams, onnx: OnnxParams, pool: Pool, directory: Path, ranks: Ranks
) -> None:
    """Write each method's float32 (n, n_dims) embeddings of all images of the pool."""
    ready_made = Path("data/pool", READY_MADE)
    if ready_made.exists():
        if ranks.is_first:
            write_npy(directory / f"{EXISTING}.npy", read_npy(ready_made, memory_map=True))
        return
    for method, encoder in load_encoders(params, onnx, "models").items():
        path = directory / f"{method}.npy"
        with atomic_path(path) if ranks.is_first else nullcontext(path) as temporary:
            write_features(temporary, encoder, pool.images, pick_device(), ranks)


if __name__ == "__main__":
    run_shared_stage(main)
