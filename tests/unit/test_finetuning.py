"""Fine-tuning an encoder on labels."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pools import write_pool
from tiny_training import ENCODER, classifier_params, features_of, tinted
from zeroshot_al.base.pool import Pool
from zeroshot_al.embedding.onnx_model import OnnxParams
from zeroshot_al.predicting.head import fit_head
from zeroshot_al.predicting.networks import LabelTraining
from zeroshot_al.predicting.saved import encoder_used
from zeroshot_al.probing.heads import centred
from zeroshot_al.selfsup.encoders import Encoder, save_encoder

IMAGES, LABELS = tinted(90)
N, STRENGTH = 30, 30.0


@pytest.fixture
def encoder(tmp_path):
    write_pool(Pool.unlabelled(IMAGES, tuple(map(str, range(90)))), tmp_path / "pool")
    (tmp_path / "simclr").mkdir()
    torch.manual_seed(0)
    encoder = Encoder(ENCODER)
    save_encoder(tmp_path / "simclr/simclr.safetensors", encoder)
    return encoder


@pytest.fixture
def finetuned(encoder, tmp_path):
    """A function from seed and steps to the weights after training on the first labels."""

    def train(seed: int, steps: int) -> dict[str, torch.Tensor]:
        directory = tmp_path / f"{seed} {steps} {torch.rand(1)}"  # the global generator has no say
        directory.mkdir()
        training = LabelTraining(
            indices=tuple(range(N)),
            codes=tuple(LABELS[:N].tolist()),
            n_classes=3,
            wanted=(),
            seed=seed,
            params=classifier_params(steps=steps),
            encoder=encoder_used("simclr", ENCODER, OnnxParams(None, (0.5,), (0.5,)), tmp_path),
            strength=STRENGTH,
            pool_dir=str(tmp_path / "pool"),
            models_dir=str(tmp_path),
        )
        return load_file(training.run(directory, lambda n: None))

    return train


def test_it_starts_as_the_head(encoder, finetuned):
    features = features_of(encoder.eval(), IMAGES)
    mean = features[:N].mean(axis=0)
    head = fit_head(centred(features[:N], mean), LABELS[:N], 3, STRENGTH)
    expected = head.logits(centred(features, mean))
    start = finetuned(seed=0, steps=0)
    logits = features @ start["head.weight"].numpy().T + start["head.bias"].numpy()
    # But for the lengths of the embeddings, which no linear layer can take out.
    assert np.mean(logits.argmax(axis=1) == expected.argmax(axis=1)) > 0.95


def test_weights_are_a_function_of_the_seed_alone(finetuned):
    once, again, other = (finetuned(seed, steps=2)["head.weight"].tolist() for seed in (0, 0, 1))
    assert once == again != other
