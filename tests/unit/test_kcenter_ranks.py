"""k-center on 2 and 4 ranks: the bytes of one process, and errors told by all ranks alike.

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
from zeroshot_al.kcenter.result import KCenterOrder

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
    "nested, clustered": (clustered, 350, {}),
    "nested, tied, bf16": (tied, 350, {"precision": "bf16", "n_initial": 20}),
    "nested, nearly equal, bf16": (nearly_equal, 350, {"precision": "bf16"}),
    "tiny, duplicated": (lambda: duplicated(90), 90, {}),
    "tiny, tied": (lambda: tied(90), 90, {"precision": "bf16"}),
}
BAD_ROWS = {  # of 3,000, and what is told of the first of them
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
    """The orders of all problems."""
    orders = {}
    for name, (data, n_select, options) in PROBLEMS.items():
        set_sizes(name.split(",")[0])
        orders[name] = kcenter_order(data(), n_select, ranks=ranks, **options)
    set_sizes("nested")
    for seed in range(30):
        orders[f"any small input, {seed}"] = any_small_input(seed, ranks)
    set_sizes("real")
    return orders


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
    """What is told of bad rows."""
    told = {}
    for name, (rows, _) in BAD_ROWS.items():
        points = clustered(3000)
        for row, value in rows.items():
            points[row] = value
        with pytest.raises(InputError) as error:
            kcenter_order(points, 2, ranks=ranks)
        told[name] = str(error.value)
    return told


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
        "orders": {name: vars(order) for name, order in solve(ranks).items()},
        "refusals": refusals(ranks),
        "exchanges": counting.sizes,
        "rows": canonical_rows(clustered(), ranks),
    }


def with_orders(answer):
    """An answer as it came from another process, its orders made anew."""
    orders = answer["orders"].items()
    return answer | {"orders": {name: KCenterOrder(**values) for name, values in orders}}


@pytest.fixture(scope="module")
def expected():
    return with_orders(everything(ALONE))


@pytest.fixture(scope="module", params=[2, 4])
def found(request):
    return [with_orders(answer) for answer in on_ranks(request.param, everything)]


def assert_same(found, expected):
    assert found.order.tobytes() == expected.order.tobytes()
    assert found.radius.tobytes() == expected.radius.tobytes()


def test_the_order_is_that_of_one_process(found, expected):
    for rank in found:
        for name, order in expected["orders"].items():
            np.testing.assert_array_equal(rank["orders"][name].order, order.order, name)
            assert_same(rank["orders"][name], order)


def test_all_ranks_refuse_alike(found, expected):
    for rank in found:
        assert rank["refusals"] == expected["refusals"]
    for name, (_, told) in BAD_ROWS.items():
        assert expected["refusals"][name].startswith(told)


def test_a_rank_holds_its_own_rows(found, expected):
    for rank, of_rank in enumerate(found):
        np.testing.assert_array_equal(of_rank["rows"], expected["rows"][rank :: len(found)])


def test_ranks_exchange_blocks_and_not_picks(found):
    for rank in found:
        assert len(rank["exchanges"]) < 1500 / 20
        assert max(rank["exchanges"]) <= 512 // len(found) * (4 * 24 + 16)
