"""Which files of a folder are listed; what becomes of them is in tests/pipeline/test_own_images."""

import os
from pathlib import Path

import pytest

from zeroshot_al.base.errors import InputError
from zeroshot_al.sources.folder import list_folder


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_ids_are_posix_paths_that_lead_to_the_files(tmp_path):
    touch(tmp_path, "a.png", "b/c.JPG", "b/d/e.tiff", "b/.hidden.png", ".git/f.png", "g.txt")
    found = list_folder(tmp_path)
    assert set(found.files) == {"a.png", "b/c.JPG", "b/d/e.tiff"}
    assert all(
        (tmp_path / name).samefile(Path(found.root, path)) for name, path in found.files.items()
    )
    assert (found.rejected, dict(found.skipped)) == ({}, {".txt": 1})


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "#recycle", "$RECYCLE.BIN", "__MACOSX", "@Recycle", "System Volume Information"],
)
def test_what_systems_keep_beside_the_images_is_passed_over(tmp_path, name):
    touch(tmp_path, "a.png", f"{name}/a.png/b.jpg", f"b/{name.lower()}/c.png", f"{name}x/d.png")
    found = list_folder(tmp_path)
    assert set(found.files) == {"a.png", f"{name}x/d.png"}
    assert not found.rejected


def test_a_root_that_is_a_link_is_followed(tmp_path):
    touch(tmp_path, "real/a.png")
    (tmp_path / "link").symlink_to("real")
    assert set(list_folder(tmp_path / "link").files) == {"a.png"}


def test_no_link_to_a_folder_is_followed(tmp_path):
    touch(tmp_path, "a/x.png", "b/y.png", ".store/z.png")
    for link, target in {"a/b": "../b", "b/a": "../a", "b/self": ".", "c": ".store"}.items():
        (tmp_path / link).symlink_to(target)
    (tmp_path / "d.png").symlink_to(".store/z.png")
    found = list_folder(tmp_path)
    assert set(found.files) == {"a/x.png", "b/y.png", "d.png"}
    assert set(found.rejected) == {"a/b", "b/a", "b/self", "c"}
    assert set(found.rejected.values()) == {"a link to a folder, which is read where it lies"}


def test_a_sibling_whose_name_begins_alike_is_outside(tmp_path):
    touch(tmp_path, "photos/a.png", "photos-private/b.png")
    (tmp_path / "photos/b.png").symlink_to("../photos-private/b.png")
    (tmp_path / "photos/up").symlink_to("..")
    found = list_folder(tmp_path / "photos")
    assert set(found.files) == {"a.png"}
    assert found.rejected == dict.fromkeys(("b.png", "up"), "a link that leads out of the folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_folder_that_cannot_be_opened_is_told(tmp_path):
    touch(tmp_path, "a.png", "locked/b.png")
    (tmp_path / "locked").chmod(0)
    found = list_folder(tmp_path)
    (tmp_path / "locked").chmod(0o700)
    assert found.rejected == {"locked": "the folder cannot be opened (Permission denied)"}


def test_no_folder_at_all_is_told(tmp_path):
    touch(tmp_path, "a.png")
    for name in ("missing", "a.png"):
        with pytest.raises(InputError, match=f"{name} is not a folder; set data.root"):
            list_folder(tmp_path / name)
