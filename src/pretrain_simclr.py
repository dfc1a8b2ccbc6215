"""Pretrain the encoder with SimCLR on the pool's images, without labels.

Reads   data/pool/images.npy
Writes  models/simclr.safetensors, plots/pretrain/simclr.csv; both empty if the method is not active
Params  profiles.<profile>.{encoder, simclr}
Paper   section 5.2
"""

from zeroshot_al.base.files import write_csv
from zeroshot_al.base.params import load_section
from zeroshot_al.base.pool import load_pool
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.engine.checkpoint import checkpoint_root, discard, fingerprint
from zeroshot_al.engine.runtime import initial_weights
from zeroshot_al.methods.simclr import Simclr, SimclrParams
from zeroshot_al.process.launch import run_shared_stage
from zeroshot_al.selfsup.encoders import EncoderParams, active_methods, save_encoder, save_untrained
from zeroshot_al.selfsup.pretrain import HISTORY_HEADER, pretrain


def main(ranks: Ranks) -> None:
    """Run the stage on one of the ranks, of which the first writes the files."""
    encoder, params = load_section("encoder", EncoderParams), load_section("simclr", SimclrParams)
    if "simclr" not in active_methods(encoder):
        if ranks.is_first:
            write_csv("plots/pretrain/simclr.csv", HISTORY_HEADER, ())
            save_untrained("models/simclr.safetensors", "simclr")
        return
    images = load_pool("data/pool").train_images
    # Not the whole section: to add a method later costs this one no training.
    code = fingerprint(encoder.name, encoder.width, params, images)
    directory = checkpoint_root() / "pretrain_simclr" / code
    initial_weights(params.seed)
    method = Simclr(encoder, params)
    history = pretrain(method, images, params, directory, ranks)
    if not ranks.is_first:
        return
    write_csv("plots/pretrain/simclr.csv", HISTORY_HEADER, history)
    save_encoder("models/simclr.safetensors", method.encoder)
    discard(directory)


if __name__ == "__main__":
    run_shared_stage(main)
