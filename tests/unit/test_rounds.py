"""Labelled and given-out images, the next batch, and the end of one."""

from pathlib import Path

import numpy as np
import pytest

from refusals import refusal
from zeroshot_al.base.files import write_csv
from zeroshot_al.base.pool import Pool
from zeroshot_al.orders import ChosenOrder
from zeroshot_al.rounds import (
    LABELLED_HEADER,
    RANDOM,
    close_batch,
    known_indices,
    next_batch,
    read_batches,
)

IDS = tuple(f"{i:02d}.png" for i in range(40))
NOTHING = np.empty(0, dtype=np.int64)


def make_pool(labels=("",) * 40):
    return Pool(np.zeros((40, 0, 0, 3), np.uint8), IDS, ("train",) * 40, labels)


def make_order(n=40):
    picks = np.random.default_rng(1).permutation(40)[:n].tolist()
    return ChosenOrder("simclr", "simclr", Path("x.csv"), picks, ["far"] * n)


def known(root, labelled, *batches, pool=None):
    write_csv(root / "labels/labelled.csv", LABELLED_HEADER, [(name,) for name in labelled])
    for batch in batches:
        assert close_batch(dict.fromkeys(batch, "far"), batch, root / "batches")
    return known_indices(pool or make_pool(), root / "labels", root / "batches").tolist()


def test_what_is_labelled_or_was_given_out_is_known(tmp_path):
    assert known(tmp_path, []) == []
    assert known(tmp_path, [IDS[7], IDS[3]], [IDS[3], IDS[9]], [IDS[0]]) == [0, 3, 7, 9]
    # An image that left the folder is nothing to look for.
    assert known(tmp_path, [], ["gone.png"]) == [0, 3, 9]


def test_a_pool_with_labels_of_its_own_knows_nothing(tmp_path):
    assert known(tmp_path, [], [IDS[3]], pool=make_pool(("cat", "dog") * 20)) == []


def test_labels_and_batches_of_other_images_are_refused(tmp_path):
    message = refusal(known, tmp_path, [IDS[0], "x.png"])
    assert "holds a label of 'x.png', which the pool lacks; run labels again" in message
    message = refusal(known, tmp_path, [], ["a.png", "b.png"])
    assert "none of the 2 images of" in message
    assert "the first 'a.png'; for other images move" in message


def test_a_batch_ends_when_a_label_of_it_is_back_and_only_once(tmp_path):
    batch = {"=b": "far", 'a,"\n.png': RANDOM}
    assert close_batch(batch, [IDS[0]], tmp_path) is None
    assert close_batch(batch, ["=b"], tmp_path) == tmp_path / "1.csv"
    assert close_batch(batch, [*batch], tmp_path) is None
    (tmp_path / "README.md").write_text("text")
    second = dict.fromkeys(IDS, "far")
    for number in range(2, 12):
        batch_n = {f"{number} {name}": reason for name, reason in second.items()}
        assert close_batch(batch_n, batch_n, tmp_path) == tmp_path / f"{number}.csv"
    found = read_batches(tmp_path)
    assert list(found) == [*range(1, 12)]
    assert list(found[1].items()) == list(batch.items())
    assert (tmp_path / "1.csv").read_text().startswith("rank,id,reason\n0,=b,far\n")


@pytest.mark.parametrize("share", [0, 0.1, 0.34, 1])
@pytest.mark.parametrize("known_images", [NOTHING, np.arange(0, 40, 3)])
def test_a_batch_holds_its_share_of_random_picks(share, known_images):
    order, n_left = make_order(), 40 - len(known_images)
    picks, reasons = next_batch(order, known_images, 40, n_left, share, 0)
    assert sorted(picks) == sorted(set(range(40)) - set(known_images.tolist()))
    chosen = [pick for pick, reason in zip(picks, reasons, strict=True) if reason != RANDOM]
    assert chosen == [pick for pick in order.picks if pick in chosen]
    for budget in range(1, n_left):
        assert next_batch(order, known_images, 40, budget, share, 0) == (
            picks[:budget],
            reasons[:budget],
        )
        assert reasons[:budget].count(RANDOM) == int(share * budget + 1e-9)


def test_random_picks_are_uniform_draws():
    order, counts = make_order(), np.zeros(40, dtype=int)
    for seed in range(2000):
        picks, reasons = next_batch(order, NOTHING, 40, 10, 0.1, seed)
        assert (picks[:9], reasons[9]) == (order.picks[:9], RANDOM)
        counts[picks[9]] += 1
    expected = 2000 / 31
    assert not counts[order.picks[:9]].any()
    assert np.abs(np.delete(counts, order.picks[:9]) - expected).max() < 5 * expected**0.5


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_a_part(share):
    message = refusal(next_batch, make_order(), NOTHING, 40, 5, share, 0)
    assert f"annotate.random_share {share} must be from 0 to 1" in message
