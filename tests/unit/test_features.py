"""Features written to a file: an interrupted call is continued, to the same bytes."""

import json

import numpy as np
import pytest
import torch

from tiny_training import Stop, noise
from zeroshot_al.base.files import replaced_directory
from zeroshot_al.base.ranks import ALONE
from zeroshot_al.embedding import features, run
from zeroshot_al.embedding.features import write_features
from zeroshot_al.embedding.onnx_model import OnnxParams
from zeroshot_al.selfsup.encoders import Encoder, EncoderParams, save_encoder

IMAGES = noise(22)


class Coarse(torch.nn.Module):
    """Pixels as features, in batches of 4; it stops after some."""

    n_features, batch_size = 3 * 8 * 8, 4

    def __init__(self, stop_after=None):
        super().__init__()
        self.stop_after, self.n_batches = stop_after, 0

    def forward(self, views):
        if self.n_batches == self.stop_after:
            raise Stop
        self.n_batches += 1
        return views.flatten(1)


def write(path, encoder):
    write_features(path, encoder, IMAGES, torch.device("cpu"))
    return path.read_bytes(), encoder.n_batches


@pytest.fixture(autouse=True)
def save_each_batch(monkeypatch):
    monkeypatch.setattr(features, "_EVERY_S", -1)


@pytest.fixture
def undisturbed(tmp_path):
    content, n_batches = write(tmp_path / "undisturbed.npy", Coarse())
    assert n_batches == 6
    return content


@pytest.fixture
def interrupted(tmp_path):
    path = tmp_path / "part.npy"
    with pytest.raises(Stop):
        write(path, Coarse(stop_after=3))
    return path


def test_the_file_is_what_numpy_writes(undisturbed, tmp_path):
    rows = np.load(tmp_path / "undisturbed.npy")
    assert rows.dtype == np.float32
    assert np.array_equal(rows, Coarse()(torch.tensor(IMAGES).permute(0, 3, 1, 2).float() / 255))


def test_an_interrupted_call_is_continued(undisturbed, interrupted, caplog):
    caplog.set_level("INFO")
    with pytest.raises(Stop):
        write(interrupted, Coarse(stop_after=1))
    assert write(interrupted, Coarse()) == (undisturbed, 2)
    assert "continuing at image 16 from" in caplog.text
    assert write(interrupted, Coarse()) == (undisturbed, 0)  # it is whole


def test_rows_behind_the_last_save_are_made_again(undisturbed, interrupted):
    with open(interrupted, "ab") as file:
        file.write(b"half a row")
    assert write(interrupted, Coarse()) == (undisturbed, 3)


def change_a_byte(path):
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a changed bit": change_a_byte,
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:500]),
    "gone": lambda path: path.unlink(),
    "no JSON": lambda path: path.with_suffix(".json").write_text("{"),
    "other JSON": lambda path: path.with_suffix(".json").write_text(json.dumps({"rows": 8})),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_written_anew(undisturbed, interrupted, damage, caplog):
    damage(interrupted)
    assert write(interrupted, Coarse()) == (undisturbed, 6)
    assert "discarding the unreadable checkpoint" in caplog.text


def test_an_image_is_named_by_its_place_in_the_pool(interrupted):
    encoder = Coarse()
    encoder.forward = lambda views: torch.full((len(views), 192), torch.nan)
    with pytest.raises(ValueError, match="the embedding of image 12 is not finite"):
        write(interrupted, encoder)


def test_the_embeddings_of_a_whole_pool_are_continued(tmp_path, monkeypatch):
    monkeypatch.setenv("ZEROSHOT_AL_CHECKPOINTS", str(tmp_path / "checkpoints"))
    params = EncoderParams("resnet-9", 0.25)
    for seed, method in enumerate(("moco", "simclr")):
        torch.manual_seed(seed)
        save_encoder(tmp_path / f"models/{method}/{method}.safetensors", Encoder(params))
    n_batches, stop_after = 0, None
    forward = Encoder.forward

    def counted(encoder, views):
        nonlocal n_batches
        if n_batches == stop_after:
            raise Stop
        n_batches += 1
        return forward(encoder, views)

    def embed(name):
        nonlocal n_batches
        n_batches = 0
        onnx = OnnxParams(None, (0.5,) * 3, (0.5,) * 3)
        with replaced_directory(tmp_path / name) as directory:
            run.write_embeddings(
                params, onnx, IMAGES, tmp_path, str(tmp_path / "models"), directory, ALONE
            )
        assert not list((tmp_path / "checkpoints/embed").iterdir())
        return [file.read_bytes() for file in sorted((tmp_path / name).iterdir())], n_batches

    monkeypatch.setattr(Encoder, "forward", counted)
    monkeypatch.setattr(features, "BATCH_SIZE", 4)
    expected, n_all = embed("undisturbed")
    assert (len(expected), n_all) == (2, 12)
    stop_after = 8  # in the second encoder
    with pytest.raises(Stop):
        embed("embeddings")
    assert not (tmp_path / "embeddings").exists()
    stop_after = None
    assert embed("embeddings") == (expected, 4)
