import logging
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from tiny_training import classifier_params, noise, view_params, weights
from zeroshot_al.engine.checkpoint import (
    Checkpoint,
    checkpoint_root,
    discard,
    fingerprint,
    read_saved,
)
from zeroshot_al.engine.runtime import generator_for


class Network(nn.Module):
    """Convolution, BatchNorm, and a queue that a state dict leaves out."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)
            )
            self.layers(torch.zeros(2, 3, 5, 5))
        self.register_buffer("queue", torch.zeros(6), persistent=False)
        self.register_buffer("place", torch.zeros(1, dtype=torch.long), persistent=False)

    def forward(self, x):
        loss = self.layers(x).square().mean() + self.queue.mean()
        self.queue[self.place % 6] = loss.detach()
        self.place += 1
        return loss


def make(memory_format, seed=0):
    network = Network(seed).to(memory_format=memory_format)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3, fused=True
    )
    return network, optimizer


def train(network, optimizer, steps):
    for step in steps:
        loss = network(torch.rand(4, 3, 5, 5, generator=generator_for(0, step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def save(directory, network, optimizer, step):
    Checkpoint(directory).save(step, {"network": network}, optimizer, force=True)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_training_continues_as_if_uninterrupted(tmp_path, memory_format):
    complete, optimizer = make(memory_format)
    train(complete, optimizer, range(12))

    network, optimizer = make(memory_format)
    for step in range(5):  # saving does not disturb it
        train(network, optimizer, [step])
        save(tmp_path, network, optimizer, step + 1)
    resumed, optimizer = make(memory_format, seed=1)  # other initial weights: all must be restored
    assert Checkpoint(tmp_path).restore({"network": resumed}, optimizer) == 5
    assert weights(resumed) == weights(network)
    train(resumed, optimizer, range(5, 12))
    assert weights(resumed) == weights(complete)


def test_several_modules_keep_apart(tmp_path):
    modules = {"first": Network(0), "second": Network(1)}
    optimizer = torch.optim.SGD(modules["first"].parameters(), lr=0.1)
    assert Checkpoint(tmp_path).restore(modules, optimizer) == 0  # there is no file yet
    Checkpoint(tmp_path).save(3, modules, optimizer, force=True)
    restored = {"first": Network(2), "second": Network(3)}
    optimizer = torch.optim.SGD(restored["first"].parameters(), lr=0.1)
    assert Checkpoint(tmp_path).restore(restored, optimizer) == 3
    assert {name: weights(module) for name, module in restored.items()} == {
        name: weights(module) for name, module in modules.items()
    }


@pytest.mark.parametrize("damage", ["half", "empty", "garbage", "one bit"])
def test_a_damaged_file_is_discarded_with_a_warning(tmp_path, caplog, damage):
    network, optimizer = make(torch.contiguous_format)
    train(network, optimizer, range(2))
    save(tmp_path, network, optimizer, 2)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    damaged = {
        "half": whole[: len(whole) // 2],
        "empty": b"",
        "garbage": b"x" * 99,
        "one bit": whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:],
    }
    file.write_bytes(damaged[damage])
    fresh, optimizer = make(torch.contiguous_format, seed=1)
    before = weights(fresh)
    with caplog.at_level(logging.WARNING):
        assert Checkpoint(tmp_path).restore({"network": fresh}, optimizer) == 0
    assert "discarding the unreadable checkpoint" in caplog.text
    assert weights(fresh) == before
    assert not file.exists()


def test_a_save_soon_after_another_is_skipped(tmp_path):
    network, optimizer = make(torch.contiguous_format)
    modules = {"network": network}
    seldom, always = Checkpoint(tmp_path / "a", every_s=1e6), Checkpoint(tmp_path / "b", every_s=0)
    for step in (1, 2):
        seldom.save(step, modules, optimizer)
        always.save(step, modules, optimizer)
    assert not (tmp_path / "a").exists()
    assert Checkpoint(tmp_path / "b").restore(modules, optimizer) == 2
    seldom.save(3, modules, optimizer, force=True)
    assert Checkpoint(tmp_path / "a").restore(modules, optimizer) == 3
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["state.safetensors"]


def test_the_fingerprint_changes_with_every_input_and_nothing_else():
    images = noise(3)
    inputs = [
        (classifier_params(), images),
        (classifier_params(learning_rate=0.2), images),
        (classifier_params(), noise(3, seed=1)),
        (classifier_params(), images[:2]),
        (classifier_params(), images.reshape(3, 4, 16, 3)),
        (classifier_params(), images.view(np.int8)),
        (images, classifier_params()),
        (classifier_params(),),
        (view_params(), images),
        (classifier_params(), images, 0),
        (classifier_params(), images, [0]),
        (classifier_params(), images, "0"),
    ]
    prints = [fingerprint(*each) for each in inputs]
    assert len(set(prints)) == len(prints)
    assert all(len(each) == 24 and int(each, 16) >= 0 for each in prints)
    assert fingerprint(classifier_params(), np.asfortranarray(images)) == prints[0]
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("zeroshot_al.another", True),
        ("zeroshot_al.kcenter.another", True),
        ("zeroshot_al.process.another", False),
        ("zeroshot_al_of_others", False),
    ],
)
def test_the_fingerprint_changes_with_the_code_of_every_room_but_one(
    name, changes, tmp_path, monkeypatch
):
    expected = fingerprint(1)
    module = types.ModuleType(name)
    module.__file__ = str(tmp_path / "another.py")
    (tmp_path / "another.py").write_text("A = 1")
    monkeypatch.setitem(sys.modules, name, module)
    first = fingerprint(1)
    (tmp_path / "another.py").write_text("A = 2")
    assert len({expected, first, fingerprint(1)}) == (3 if changes else 1)


@pytest.mark.parametrize(
    ("given", "directory", "root"),
    [
        ("/somewhere/else", ".dvc/tmp/exps/tmp1234", "/somewhere/else"),
        (None, ".", ".checkpoints"),
        # A temporary experiment keeps its checkpoints in the project.
        (None, ".dvc/tmp/exps/tmp1234", "PROJECT/.checkpoints"),
        (None, ".dvc/tmp/exps/tmp1234/src", "PROJECT/.checkpoints"),
    ],
)
def test_the_root_of_checkpoints(monkeypatch, tmp_path, given, directory, root):
    monkeypatch.delenv("ZEROSHOT_AL_CHECKPOINTS", raising=False)
    if given:
        monkeypatch.setenv("ZEROSHOT_AL_CHECKPOINTS", given)
    (tmp_path / directory).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / directory)
    assert str(checkpoint_root()) == root.replace("PROJECT", str(tmp_path))


def test_discard_removes_all_and_bears_that_there_is_nothing(tmp_path):
    network, optimizer = make(torch.contiguous_format)
    save(tmp_path / "stage" / "job", network, optimizer, 1)
    discard(tmp_path / "stage")
    assert not (tmp_path / "stage").exists()
    discard(tmp_path / "stage")


def test_what_was_saved_beside_a_checkpoint_is_read_or_discarded(tmp_path, caplog):
    file = tmp_path / "history.json"
    assert read_saved(file) is None
    file.write_text('{"rows": [[1, 0.5, 0.1]]}')
    assert read_saved(file) == {"rows": [[1, 0.5, 0.1]]}
    assert not caplog.text
    file.write_text('{"rows": [[1, 0.')
    assert read_saved(file) is None
    assert "discarding the unreadable checkpoint" in caplog.text
    assert not file.exists()
