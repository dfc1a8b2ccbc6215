import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from verify_cache import remove_damaged


def put(cache, content: bytes, name: bytes, suffix=""):
    digest = hashlib.md5(name).hexdigest()
    file = cache / digest[:2] / (digest[2:] + suffix)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(0o444)
    return file


def test_damaged_objects_are_removed_and_whole_ones_stay(tmp_path):
    whole = [put(tmp_path, b"weights", b"weights"), put(tmp_path, b"[]", b"[]", ".dir")]
    damaged = [put(tmp_path, b"weightt", b"weights 2"), put(tmp_path, b"[", b"[1]", ".dir")]
    assert set(remove_damaged(tmp_path)) == set(damaged)
    assert {file for file in tmp_path.rglob("*") if file.is_file()} == set(whole)
    assert remove_damaged(tmp_path) == []
