"""Embed every image with both encoders, and measure how good the embeddings are.

Reads   data/pool/, models/moco.safetensors, models/simclr.safetensors
Writes  data/embeddings/{moco,simclr}.npy (float32 n x d, rows as in the pool, test rows last),
        metrics/linear_eval.json
Params  profiles.<profile>.{encoder, embed}
Paper   section 5.1, linear evaluation
"""

import logging

import numpy as np

from zeroshot_al.encoders import EncoderParams, extract_features, load_encoder
from zeroshot_al.files import write_json, write_npy
from zeroshot_al.orders import ZERO_SHOT
from zeroshot_al.params import load_section
from zeroshot_al.pool import load_pool
from zeroshot_al.probe import EmbedParams, knn_accuracy, linear_accuracy
from zeroshot_al.runtime import pick_device
from zeroshot_al.stage import run_stage


def main() -> None:
    """Run the stage."""
    encoder_params = load_section("encoder", EncoderParams)
    params = load_section("embed", EmbedParams)
    pool = load_pool("data/pool")

    def probe(features: np.ndarray) -> dict[str, float]:
        if not pool.is_labelled:
            return {}
        train, test = features[: pool.n_train], features[pool.n_train :]
        arguments = (train, pool.train_labels, test, pool.test_labels, params)
        return {"linear": linear_accuracy(*arguments), "knn": knn_accuracy(*arguments)}

    encoders = {
        method: load_encoder(f"models/{method}.safetensors", encoder_params) for method in ZERO_SHOT
    }
    # All features before the first file: a bad encoder leaves both files as they were.
    features = {
        method: extract_features(encoder, pool.images, pick_device())
        for method, encoder in encoders.items()
    }
    results = {}
    for method, rows in features.items():
        write_npy(f"data/embeddings/{method}.npy", rows)
        results[method] = probe(rows)
        logging.info("%s: %s", method, results[method])
    if pool.is_labelled:  # else the pixels as floats would fill the memory for nothing
        pixels = pool.images.reshape(len(pool.images), -1).astype(np.float32) / 255
        results["pixels"] = probe(pixels)
        logging.info("pixels: %s", results["pixels"])
    write_json("metrics/linear_eval.json", results)


if __name__ == "__main__":
    run_stage(main)
