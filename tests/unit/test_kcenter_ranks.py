"""k-center on 2 and 4 ranks: the bytes of one process, and the same errors on all ranks.

Each number of ranks is started once, for all cases; the tests then look at what its ranks found.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

from kcenter_data import DATA, clustered, duplicated, nearly_equal, tied
from on_ranks import on_ranks
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.kcenter import distances as distances_module
from zeroshot_al.kcenter import filter as filter_module
from zeroshot_al.kcenter import kcenter_order
from zeroshot_al.kcenter import search as search_module
from zeroshot_al.kcenter.input import canonical_rows

# Block, fan-out and tile: the real ones; five levels deep; fewer points in a block than ranks.
SIZES = {"real": (512, 4, 1024), "nested": (8, 2, 32), "tiny": (3, 2, 8)}
OPTIONS = {
    "one start": {"seed": 3},
    "initial indices, bf16": {"initial_indices": [5, 699, 17, 0], "precision": "bf16"},
}
PROBLEMS = {
    **{
        f"real, {data.__name__}, {name}": (data, 600, options)
        for data in DATA
        for name, options in OPTIONS.items()
    },
    **{f"real, {n} points": (lambda n=n: clustered(n), n, {}) for n in (1, 2, 3, 5, 513)},
    "real, 40 starts": (clustered, 100, {"n_initial": 40}),
    "real, 600 starts, bf16": (duplicated, 650, {"n_initial": 600, "precision": "bf16"}),
    "real, all duplicates": (duplicated, 697, {"initial_indices": [1, 2, 3], "precision": "bf16"}),
    "real, sorted": (lambda: clustered()[np.argsort(clustered()[:, 0])], 500, {}),
    "nested, clustered": (lambda: clustered(256), 100, {}),
    "nested, tied, bf16": (lambda: tied(256), 100, {"precision": "bf16", "n_initial": 20}),
    "nested, nearly equal, bf16": (lambda: nearly_equal(256), 100, {"precision": "bf16"}),
    "tiny, duplicated": (lambda: duplicated(60), 60, {}),
    "tiny, tied": (lambda: tied(60), 60, {"precision": "bf16"}),
}
BAD_ROWS = {  # of 3,000, and the message on the first of them
    "not finite": ({2917: np.nan}, "row 2917 of the embeddings holds NaN or infinity"),
    "zero": ({2916: 0}, "row 2916 of the embeddings is all zeros"),
    "first of several": (
        {2919: np.inf, 1301: 0, 6: 0, 5: np.nan},
        "row 5 of the embeddings holds NaN or infinity",
    ),
}


def set_sizes(name):
    search_module.BLOCK, search_module.FAN_OUT, tile = SIZES[name]
    filter_module.TILE = distances_module.TILE = tile


def solve(ranks):
    """The order and radius of each problem."""
    found = {}
    for name, (data, n_select, options) in PROBLEMS.items():
        set_sizes(name.split(",")[0])
        found[name] = kcenter_order(data(), n_select, ranks=ranks, **options)
    set_sizes("nested")
    for seed in range(12):
        found[f"any small input, {seed}"] = any_small_input(seed, ranks)
    set_sizes("real")
    return {name: [each.order, each.radius] for name, each in found.items()}


def any_small_input(seed, ranks):
    """An order of few points with many ties."""
    draw = np.random.default_rng(seed)
    shape = draw.integers(1, 60), draw.integers(1, 4)
    points = draw.choice([-2.0, -1.0, -0.5, 0.5, 1.0, 1.5], size=shape)
    n_select = draw.integers(1, len(points) + 1)
    n_initial = draw.integers(1, n_select + 1)
    precision = draw.choice(["float32", "bf16"])
    return kcenter_order(
        points, n_select, n_initial=n_initial, seed=seed, precision=precision, ranks=ranks
    )


def refusals(ranks):
    """The messages on bad rows."""
    messages = {}
    for name, (rows, _) in BAD_ROWS.items():
        points = clustered(3000)
        for row, value in rows.items():
            points[row] = value
        with pytest.raises(InputError) as error:
            kcenter_order(points, 2, ranks=ranks)
        messages[name] = str(error.value)
    return messages


@dataclass(frozen=True)
class CountingRanks(Ranks):
    """Ranks that note the bytes of each exchange."""

    sizes: list = field(default_factory=list)

    def gather(self, tensor):
        self.sizes.append(tensor.nbytes)
        return super().gather(tensor)


def everything(ranks):
    """What one rank finds."""
    counting = CountingRanks(ranks.rank, ranks.n_ranks)
    kcenter_order(clustered(3000), 1500, ranks=counting)
    return {
        "orders": solve(ranks),
        "refusals": refusals(ranks),
        "exchanges": counting.sizes,
        "rows": canonical_rows(clustered(), ranks),
    }


@pytest.fixture(scope="module")
def expected():
    return everything(ALONE)


@pytest.fixture(scope="module", params=[2, 4])
def found(request):
    return on_ranks(request.param, everything)


def test_the_order_is_that_of_one_process(found, expected):
    for rank in found:
        for name, arrays in expected["orders"].items():
            for got, array in zip(rank["orders"][name], arrays, strict=True):
                assert got.tobytes() == array.tobytes(), name


def test_all_ranks_refuse_alike(found, expected):
    for rank in found:
        assert rank["refusals"] == expected["refusals"]
    for name, (_, message) in BAD_ROWS.items():
        assert expected["refusals"][name].startswith(message)


def test_a_rank_holds_its_own_rows(found, expected):
    for rank, of_rank in enumerate(found):
        np.testing.assert_array_equal(of_rank["rows"], expected["rows"][rank :: len(found)])


def test_ranks_exchange_blocks_and_not_picks(found):
    for rank in found:
        assert len(rank["exchanges"]) < 1500 / 20
        assert max(rank["exchanges"]) <= 512 // len(found) * (4 * 24 + 16)
