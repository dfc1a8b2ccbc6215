"""The two lists that people look through: exact for us, harmless in a spreadsheet."""

import csv

import pytest

from unit.test_exports import NAMES
from zeroshot_al.sources.duplicates import Duplicate
from zeroshot_al.sources.left_out import read_left_out, write_duplicates, write_rejected
from zeroshot_al.sources.spreadsheet import STARTS_A_FORMULA


@pytest.fixture
def written(tmp_path):
    """Write both files, of hostile names, and return their folder."""
    copies = [Duplicate(name, NAMES[0], "exact", 0) for name in NAMES[1:]]
    near = [Duplicate(NAMES[0], name, "near", 3) for name in NAMES[1:]]
    write_duplicates(tmp_path, copies + near)
    write_rejected(tmp_path, dict.fromkeys(NAMES, "the file is empty"))
    return tmp_path


def test_every_id_comes_back(written):
    found = read_left_out(written)
    assert found.kept_for == dict.fromkeys(NAMES[1:], NAMES[0])
    assert [row["duplicate_of"] for row in found.near] == NAMES[1:]
    assert {row["id"]: row["reason"] for row in found.rejected} == dict.fromkeys(
        NAMES, "the file is empty"
    )


def test_no_cell_is_a_formula(written):
    for name in ("duplicates.csv", "rejected.csv"):
        with open(written / name, newline="", encoding="utf-8-sig") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert len(cells) > 2 * len(NAMES)
        assert not any(cell.startswith(STARTS_A_FORMULA) for cell in cells)
