"""No pickle is read: none of our files names what would, and hostile files stay shut."""

import ast
import gzip
import os
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from archives import tiny_cifar10
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_npy
from zeroshot_al.embedding.existing_model import load_timm_model
from zeroshot_al.sources.cifar import read_cifar
from zeroshot_al.sources.load import load_source
from zeroshot_al.sources.params import DataParams

ROOT = Path(__file__).parents[2]
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS = {
    "torch.load",
    "torch.save",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "pd.read_pickle",
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
}
# torch.distributed's exchange of objects.
METHODS = {
    "all_gather_object",
    "gather_object",
    "broadcast_object_list",
    "scatter_object_list",
    "send_object_list",
    "recv_object_list",
}


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self._path = str(path)

    def __reduce__(self):
        return os.mkdir, (self._path,)


@pytest.fixture
def evil(tmp_path):
    """Return what makes a folder when it is unpickled, and check that none was made."""
    trace = tmp_path / "evil was here"
    yield Evil(trace)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Evil(trace)))  # the payload works
    assert trace.exists()


def unsafe(source):
    """List what a module's source has that reads a pickle or runs a text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").partition(".")[0]]
        found += sorted(MODULES.intersection(names))
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {word.arg: word.value for word in node.keywords}
        if called in CALLS or called.rpartition(".")[2] in METHODS:
            found.append(called)
        # Python's own default of allow_pickle is False; named all the same, to be seen.
        pickles = options.get("allow_pickle")
        if called.startswith(("np.load", "numpy.load")) and not (
            isinstance(pickles, ast.Constant) and pickles.value is False
        ):
            found.append(called)
        if isinstance(pickles, ast.Constant) and pickles.value is not False:
            found.append(f"{called} allow_pickle")
        if isinstance(shell := options.get("shell"), ast.Constant) and shell.value:
            found.append(f"{called} shell")
    return found


@pytest.mark.parametrize("folder", ["src", "benchmarks", "scripts"])
def test_no_module_reads_a_pickle_or_runs_a_text(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = {str(file.relative_to(ROOT)): unsafe(file.read_text("utf-8")) for file in files}
    assert {name: bad for name, bad in found.items() if bad} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x')",
        "np.load('x')",
        "np.load('x', allow_pickle=True)",
        "yaml.load(text)",
        "dist.all_gather_object(found, x)",
        "torch.distributed.broadcast_object_list([x])",
        "subprocess.run('ls', shell=True)",
        "eval(text)",
    ],
)
def test_the_search_finds_them(source):
    assert unsafe(source)


def test_an_array_of_objects_stays_shut(tmp_path, evil):
    path = tmp_path / "a.npy"
    np.save(path, np.array([[evil]], dtype=object), allow_pickle=True)
    (tmp_path / "ids.txt").write_text("a\n")
    params = DataParams("embeddings", str(path), ids=str(tmp_path / "ids.txt"))
    with pytest.raises(InputError, match=r"is not a complete .npy array"):
        load_source(params, "unused", tmp_path / "pool")
    with pytest.raises(InputError, match=r"is not a complete .npy array"):
        read_npy(path)
    path.write_bytes(pickle.dumps(evil))  # a bare pickle under the name
    with pytest.raises(InputError, match=r"is not a complete .npy array"):
        load_source(params, "unused", tmp_path / "pool")


@pytest.mark.parametrize("name", ["model.pth", "model.bin", "model.safetensors", "model"])
def test_pickled_weights_stay_shut_under_any_name(tmp_path, evil, name):
    torch.save({"weight": evil}, tmp_path / name)
    message = r"is a pickle, which can run|is not a complete safetensors"
    with pytest.raises(InputError, match=message):
        load_timm_model(f"test_resnet:{tmp_path / name}")


# ---------------------------------------------------------------------------- archives


def member(name, kind=tarfile.REGTYPE, link="", content=b"evil"):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    entry.size = len(content) if kind == tarfile.REGTYPE else 0
    return entry, content


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("../evil", tarfile.REGTYPE, ""),
        ("a/../../evil", tarfile.REGTYPE, ""),
        ("OUTSIDE", tarfile.REGTYPE, ""),
        ("tiny", tarfile.SYMTYPE, ".."),
        ("link", tarfile.SYMTYPE, "/etc/passwd"),
        ("link", tarfile.LNKTYPE, "../evil"),
        ("device", tarfile.CHRTYPE, ""),
        ("pipe", tarfile.FIFOTYPE, ""),
    ],
)
def test_an_archive_is_read_and_not_unpacked(tmp_path, name, kind, link):
    """Whatever its members are called, even if its checksum is right."""
    name = name.replace("OUTSIDE", str(tmp_path / "evil"))
    packed, archive = tiny_cifar10(more=[member(name, kind, link)])
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "tiny.tar.gz").write_bytes(packed)
    assert len(read_cifar(archive, raw).images) == 42
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    assert [path.name for path in raw.iterdir()] == ["tiny.tar.gz"]


@pytest.mark.parametrize(
    ("kind", "link"),
    [(tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "tiny/test"), (tarfile.DIRTYPE, "")],
)
def test_a_member_that_is_no_file_is_not_taken_for_one(tmp_path, kind, link):
    packed, archive = tiny_cifar10(more=[member("tiny/data_0", kind, link)])
    (tmp_path / "tiny.tar.gz").write_bytes(packed)
    archive = replace(archive, train=("tiny/data_0", *archive.train))
    with pytest.raises(KeyError, match="tiny/data_0"):
        read_cifar(archive, tmp_path)


@pytest.mark.parametrize("bomb", [False, True])
def test_an_archive_with_another_checksum_is_not_read(tmp_path, bomb):
    """A tampered one, or 64 MiB in 64 KiB."""
    packed, archive = tiny_cifar10()
    content = gzip.compress(bytes(2**20)) * 64 if bomb else packed[:-1] + b"x"
    (tmp_path / "tiny.tar.gz").write_bytes(content)
    with pytest.raises(InputError):  # it would be downloaded again
        read_cifar(archive, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"tiny.tar.gz"}
