import functools
import logging
import math
from dataclasses import replace

import pytest
import torch

from tiny_training import (
    ENCODER,
    Stop,
    kill_when,
    moco_params,
    no_change,
    noise,
    simclr_params,
    start,
    tinted,
    weights,
)
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_json
from zeroshot_al.engine.checkpoint import Checkpoint
from zeroshot_al.engine.pixels import pixel_statistics
from zeroshot_al.engine.runtime import initial_weights
from zeroshot_al.engine.schedule import learning_rate
from zeroshot_al.methods.moco import Moco
from zeroshot_al.methods.simclr import Simclr
from zeroshot_al.selfsup import pretrain as module
from zeroshot_al.selfsup.pretrain import HISTORY_HEADER, fit_batch_size, make_optimizer, pretrain

methods = pytest.mark.parametrize("name", ["moco", "simclr"])


def make(name, **changes):
    params = {"moco": moco_params, "simclr": simclr_params}[name](**changes)
    initial_weights(params.seed)
    return {"moco": Moco, "simclr": Simclr}[name](ENCODER, params), params


def run(name, images, directory, **changes):
    method, params = make(name, **changes)
    return method, pretrain(method, images, params, directory)


@pytest.fixture
def save_every_epoch(monkeypatch):
    monkeypatch.setattr(module, "Checkpoint", functools.partial(Checkpoint, every_s=0.0))


@methods
def test_the_loss_falls_in_20_steps(name, tmp_path):
    images, _ = tinted(64)
    views = no_change(8, min_area=0.5, flip_rate=0.5, jitter_rate=0.0)
    # One step an epoch: the history holds the loss of each step. With a queue of one batch,
    # MoCo's first negatives are random and easy, but those of the second step are real.
    _, history = run(
        name,
        images,
        tmp_path,
        epochs=20,
        batch_size=64,
        views=views,
        learning_rate=0.1,
        temperature=0.5,
        **{"queue_size": 64} if name == "moco" else {},
    )
    losses = [loss for _, loss, _ in history]
    assert sum(losses[-3:]) / 3 < sum(losses[1:4]) / 3 - 0.1


def test_lars_adapts_and_decays_no_bias_and_no_norm():
    method, params = make("simclr", optimizer="lars", learning_rate=2.0, weight_decay=0.1)
    optimizer = make_optimizer(method, params)
    before = {name: weight.detach().clone() for name, weight in method.named_parameters()}
    for weight in method.parameters():
        weight.grad = torch.full_like(weight, 0.3)
    optimizer.step()
    for name, weight in method.named_parameters():
        old, grad = before[name], weight.grad
        if weight.ndim > 1:  # You et al., 2017, equation 6, with a trust coefficient of 0.001
            rate = 0.001 * old.norm() / (grad.norm() + 0.1 * old.norm())
            expected = old - 2.0 * rate * (grad + 0.1 * old)
        else:
            expected = old - 2.0 * grad
        torch.testing.assert_close(weight.detach(), expected)


@methods
def test_the_history_has_a_row_an_epoch_and_its_learning_rate(name, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger=module.__name__):
        _, history = run(name, noise(20), tmp_path, epochs=3, warmup_epochs=1)
    assert len(HISTORY_HEADER) == 3
    assert [row[0] for row in history] == [1, 2, 3]
    assert all(math.isfinite(loss) for _, loss, _ in history)
    # 20 images are two batches of 8 an epoch; the rate is that of the epoch's last step.
    assert [row[2] for row in history] == [learning_rate(s, 6, 0.05, 2) for s in (1, 3, 5)]
    assert len([record for record in caplog.records if "epoch" in record.message]) == 3


@methods
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(name, tmp_path):
    images = noise(16)
    first, history = run(name, images, tmp_path / "a")
    again, again_history = run(name, images, tmp_path / "b")
    other, _ = run(name, images, tmp_path / "c", seed=1)
    assert weights(first) == weights(again)
    assert history == again_history
    assert weights(first.encoder) != weights(other.encoder)
    mean, std = pixel_statistics(images)
    assert torch.equal(first.encoder.mean.cpu(), mean)
    assert torch.equal(first.encoder.std.cpu(), std)
    assert not torch.equal(first.encoder.stem[0].weight, make(name)[0].encoder.stem[0].weight)


@pytest.mark.parametrize(
    ("n_images", "batch_size", "rate"), [(111, 64, 0.015), (255, 128, 0.03), (256, 256, 0.06)]
)
def test_a_batch_is_halved_until_the_pool_holds_it(n_images, batch_size, rate, caplog):
    params = simclr_params(batch_size=256, learning_rate=0.06)
    found = fit_batch_size(params, n_images)
    assert found == replace(params, batch_size=batch_size, learning_rate=rate)
    told = f"batch_size 256 exceeds the pool of {n_images}: {batch_size} at a learning rate of"
    assert (told in caplog.text) == (batch_size < 256)


@methods
def test_a_batch_larger_than_the_pool_is_refused(name, tmp_path):
    with pytest.raises(InputError, match="batch_size 8 exceeds the pool of 7; lower it"):
        run(name, noise(7), tmp_path)
    assert list(tmp_path.iterdir()) == []


@methods
def test_nan_stops_with_the_step_and_the_learning_rate(name, tmp_path, save_every_epoch):
    message = r"the contrastive loss is nan at step \d+ with the learning rate .*; lower"
    with pytest.raises(InputError, match=message):
        run(name, noise(16), tmp_path, epochs=6, learning_rate=1e30)


@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
@methods
def test_an_interrupted_pretraining_resumes_to_the_same_bytes(
    name, optimizer, tmp_path, save_every_epoch
):
    images = noise(24)
    whole, history = run(name, images, tmp_path / "whole", epochs=4, optimizer=optimizer)
    interrupted, params = make(name, epochs=4, optimizer=optimizer)
    compute, n_calls = interrupted.training_loss, iter(range(100))

    def training_loss(*views):
        if next(n_calls) == 7:  # within the third epoch of three steps
            raise Stop
        return compute(*views)

    interrupted.training_loss = training_loss
    with pytest.raises(Stop):
        pretrain(interrupted, images, params, tmp_path / "cut")
    # Other initial weights: all of the state must come from the checkpoint.
    continued, params = make(name, epochs=4, optimizer=optimizer)
    with torch.no_grad():
        for weight in continued.parameters():
            weight.zero_()
    resumed_history = pretrain(continued, images, params, tmp_path / "cut")
    assert resumed_history == history
    assert weights(continued) == weights(whole)


@methods
def test_a_pretraining_stopped_before_its_first_checkpoint_starts_again(name, tmp_path):
    images = noise(16)
    whole, history = run(name, images, tmp_path / "whole")
    # Its history is there, but it is ahead of the checkpoint that was never written.
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "history.json").write_text('{"rows": [[1, 9.0, 9.0]]}')
    again, new_history = run(name, images, tmp_path / "cut")
    assert new_history == history
    assert weights(again) == weights(whole)


def run_slowly_saved(name, images, directory, epochs):
    """Target of the process that is killed; a checkpoint after every epoch."""
    torch.set_num_threads(1)
    module.Checkpoint = functools.partial(Checkpoint, every_s=0.0)
    run(name, images, directory, epochs=epochs)


@methods
def test_a_killed_pretraining_resumes_to_the_same_bytes(name, tmp_path, save_every_epoch):
    images, epochs = noise(24), 12
    whole, history = run(name, images, tmp_path / "whole", epochs=epochs)
    directory = tmp_path / "cut"
    # Twice: the second time the process that is killed has itself resumed.
    for rows in (2, 6):
        process = start(run_slowly_saved, name, images, directory, epochs)
        kill_when(process, lambda rows=rows: n_rows(directory) >= rows)
    method, resumed_history = run(name, images, directory, epochs=epochs)
    assert resumed_history == history
    assert weights(method) == weights(whole)


def n_rows(directory):
    file = directory / "history.json"
    return len(read_json(file)["rows"]) if (directory / "state.safetensors").exists() else 0
