import pytest
import torch

from on_ranks import on_ranks
from zeroshot_al.base.ranks import ALONE


def everything(ranks):
    rank = ranks.rank
    rows = torch.arange(rank * 3.0).reshape(rank, 3)  # none of rank 0
    return {
        "gather": [part.tolist() for part in ranks.gather(torch.tensor([rank, 7]))],
        "rows": [part.tolist() for part in ranks.gather_rows(rows)],
        "json": ranks.gather_json({"rank": rank, "text": "ä" * rank, "third": 1 / 3}),
        "mean": ranks.mean(torch.tensor(float(rank))).item(),
        "bytes": list(ranks.share_bytes(bytes(range(9)) * (rank + 1))),
        "empty": list(ranks.share_bytes(b"" if rank == 0 else b"not used")),
        "shared": ranks.share_json({"of": rank}),
        "part": list(range(12))[ranks.rows_of(12)],
        "is_first": ranks.is_first,
    }


@pytest.mark.parametrize("n_ranks", [2, 4])
def test_the_ranks_tell_each_other(n_ranks):
    for rank, got in enumerate(on_ranks(n_ranks, everything)):
        everybody = range(n_ranks)
        assert got["gather"] == [[other, 7] for other in everybody]
        expected = [torch.arange(other * 3.0).reshape(other, 3).tolist() for other in everybody]
        assert got["rows"] == expected
        assert got["json"] == [{"rank": r, "text": "ä" * r, "third": 1 / 3} for r in everybody]
        assert got["mean"] == (n_ranks - 1) / 2
        assert (got["bytes"], got["empty"], got["shared"]) == (list(range(9)), [], {"of": 0})
        assert got["part"] == list(range(12))[rank * 12 // n_ranks : (rank + 1) * 12 // n_ranks]
        assert got["is_first"] == (rank == 0)


def test_one_process_needs_no_group():
    assert everything(ALONE) == {
        "gather": [[0, 7]],
        "rows": [[]],
        "json": [{"rank": 0, "text": "", "third": 1 / 3}],
        "mean": 0.0,
        "bytes": list(range(9)),
        "empty": [],
        "shared": {"of": 0},
        "part": list(range(12)),
        "is_first": True,
    }
