"""Pretrain the encoder with SimCLR on the pool's images, without labels.

Reads   data/pool/images.npy
Writes  models/simclr/simclr.safetensors, plots/pretrain/simclr.csv; of a method that is not active
        an empty directory and a header
Params  profiles.<profile>.{encoder, pretrain, simclr}
Paper   section 5.2
"""

from zeroshot_al.base.params import load_section
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.methods.simclr import Simclr, SimclrParams
from zeroshot_al.process.launch import run_shared_stage
from zeroshot_al.selfsup.encoders import EncoderParams
from zeroshot_al.selfsup.run import run_pretraining


def main(ranks: Ranks) -> None:
    """Run the stage on one of the ranks, of which the first writes the files."""
    encoder = load_section("encoder", EncoderParams)
    params = load_section("simclr", SimclrParams, shared="pretrain")
    files = ("data/pool", "models/simclr", "plots/pretrain/simclr.csv")
    run_pretraining("simclr", Simclr, encoder, params, *files, ranks)


if __name__ == "__main__":
    run_shared_stage(main)
