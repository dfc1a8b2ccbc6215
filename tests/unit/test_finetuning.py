"""Fine-tuning an encoder on labels."""

import torch
from safetensors.torch import load_file

from pools import write_pool
from tiny_training import classifier_params, noise
from zeroshot_al.base.pool import Pool
from zeroshot_al.embedding.onnx_model import OnnxParams
from zeroshot_al.predicting.networks import LabelTraining
from zeroshot_al.predicting.saved import encoder_used
from zeroshot_al.selfsup.encoders import Encoder, EncoderParams, save_encoder


def test_weights_are_a_function_of_the_seed_alone(tmp_path):
    write_pool(Pool.unlabelled(noise(12), tuple("abcdefghijkl")), tmp_path / "pool")
    params = EncoderParams("resnet-9", 0.125)
    (tmp_path / "simclr").mkdir()
    save_encoder(tmp_path / "simclr/simclr.safetensors", Encoder(params))
    encoder = encoder_used("simclr", params, OnnxParams(None, (0.5,), (0.5,)), str(tmp_path))
    heads = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(len(heads) + 1)  # the global generator has no say
        training = LabelTraining(
            indices=tuple(range(12)),
            codes=(0, 1, 2) * 4,
            n_classes=3,
            wanted=(),
            seed=seed,
            params=classifier_params(steps=0),
            encoder=encoder,
            pool_dir=str(tmp_path / "pool"),
            models_dir=str(tmp_path),
        )
        (tmp_path / name).mkdir()
        head = load_file(training.run(tmp_path / name, lambda n: None))["head.weight"]
        heads.append(head.tolist())
    assert heads[0] == heads[1] != heads[2]
