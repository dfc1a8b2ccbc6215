"""Pretrain the encoder with MoCo-v2 on the pool's images, without labels.

Reads   data/pool/images.npy
Writes  models/moco/moco.safetensors, plots/pretrain/moco.csv; of a method that is not active
        an empty directory and a header
Params  profiles.<profile>.{encoder, pretrain, moco}
Paper   section 5.2
"""

from zeroshot_al.base.params import load_section
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.methods.moco import Moco, MocoParams
from zeroshot_al.process.launch import run_shared_stage
from zeroshot_al.selfsup.encoders import EncoderParams
from zeroshot_al.selfsup.run import run_pretraining


def main(ranks: Ranks) -> None:
    """Run the stage on one of the ranks, of which the first writes the files."""
    encoder = load_section("encoder", EncoderParams)
    params = load_section("moco", MocoParams, shared="pretrain")
    files = ("data/pool", "models/moco", "plots/pretrain/moco.csv")
    run_pretraining("moco", Moco, encoder, params, *files, ranks)


if __name__ == "__main__":
    run_shared_stage(main)
