"""Embed every image with each active encoder, and measure how good the embeddings are.

Reads   data/pool/; models/moco.safetensors, models/simclr.safetensors, or the existing model that
        encoder.weights names, or the embeddings in data/pool/embeddings.npy
Writes  data/embeddings/<method>.npy (float32 n x d, rows as in the pool, test rows last) of the
        active methods, metrics/linear_eval.json
Params  profiles.<profile>.{encoder, embed}
Paper   section 5.1, linear evaluation
"""

import logging
from pathlib import Path

import numpy as np

from zeroshot_al.encoders import (
    READY_MADE,
    EncoderParams,
    active_methods,
    extract_features,
    load_encoder,
)
from zeroshot_al.files import read_npy, write_json, write_npy
from zeroshot_al.orders import ZERO_SHOT
from zeroshot_al.params import load_section
from zeroshot_al.pool import Pool, load_pool
from zeroshot_al.pretrained import load_pretrained
from zeroshot_al.probe import EmbedParams, pixel_probe_fits, probe
from zeroshot_al.runtime import pick_device
from zeroshot_al.stage import run_stage


def main() -> None:
    """Run the stage."""
    encoder_params = load_section("encoder", EncoderParams)
    params = load_section("embed", EmbedParams)
    pool = load_pool("data/pool")
    # All features before the first file: a bad encoder leaves every file as it was.
    features = embed(active_methods(encoder_params), encoder_params, pool)
    for method in ZERO_SHOT:
        if method in features:
            write_npy(f"data/embeddings/{method}.npy", features[method])
        else:  # DVC empties the directory; without DVC, an earlier run's file would stay
            Path(f"data/embeddings/{method}.npy").unlink(missing_ok=True)
    results = {}
    # A probe learns from labels and is scored on test images.
    if pool.is_labelled and pool.n_train < len(pool.ids):
        if pool.has_images and pixel_probe_fits(pool.images):
            features["pixels"] = pool.images.reshape(len(pool.ids), -1).astype(np.float32) / 255
        for name, rows in features.items():
            train, test = rows[: pool.n_train], rows[pool.n_train :]
            results[name] = probe(train, pool.train_labels, test, pool.test_labels, params)
            logging.info("%s: %s", name, results[name])
    write_json("metrics/linear_eval.json", results)


def embed(methods: tuple[str, ...], params: EncoderParams, pool: Pool) -> dict[str, np.ndarray]:
    """Return each method's float32 (n, n_dims) embeddings of all images of the pool."""
    ready_made = Path("data/pool") / READY_MADE
    if ready_made.exists():
        return dict.fromkeys(methods, read_npy(ready_made, memory_map=True))
    if params.weights is not None:
        encoder = load_pretrained(params.weights)
        rows = extract_features(encoder, pool.images, pick_device(), encoder.batch_size)
        return dict.fromkeys(methods, rows)
    encoders = {name: load_encoder(f"models/{name}.safetensors", params) for name in methods}
    return {
        method: extract_features(encoder, pool.images, pick_device())
        for method, encoder in encoders.items()
    }


if __name__ == "__main__":
    run_stage(main)
