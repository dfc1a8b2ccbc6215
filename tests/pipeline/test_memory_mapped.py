"""What is mapped is never in memory as a whole: each step runs under a limit that is below it."""

import sys

import numpy as np
import pytest
from PIL import Image

from forked_stage import run_forked
from zeroshot_al.base.files import write_csv, write_npy
from zeroshot_al.base.pool import HEADER

MIB = 2**20
SIDE, N_IMAGES = 1024, 32  # 96 MiB of pixels in 32 small files
N_MANY, SMALL_SIDE, N_DIMS = 2**17, 24, 256  # 216 MiB of pixels, 128 MiB of embeddings
CODE = """
import resource
from pathlib import Path
import numpy as np
{imports}

def what_is_held():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmData:")[1].split()[0]) * 1024

# Not RLIMIT_AS, which counts mapped files; workers inherit it and have pages of their own.
limit = what_is_held() + {limit}
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
{work}
"""
DOWNLOAD = """
from zeroshot_al.base.files import replaced_directory
from zeroshot_al.base.pool import load_pool, save_pool
from zeroshot_al.sources.load import load_source
from zeroshot_al.sources.params import DataParams
"""
MAKE_POOL = f"""
with replaced_directory("pool") as directory:
    save_pool(load_source(DataParams("folder", "photos", {SIDE}), "", directory), directory)
pool = load_pool("pool")
assert len(pool.train_images) == {N_IMAGES}
"""
READ_WHOLE = """
np.load("pool/images.npy", allow_pickle=False)
"""
FEATURES = """
import torch
from zeroshot_al.embedding.features import write_features
from zeroshot_al.base.files import read_npy

class Coarse(torch.nn.Module):
    n_features = 3 * 12 * 12

    def forward(self, views):
        return torch.nn.functional.adaptive_avg_pool2d(views, 12).flatten(1)
"""
# 216 MiB of images in, as many of features out.
WRITE_FEATURES = """
images = read_npy("pool/images.npy", memory_map={mapped})
write_features(Path("features.npy"), Coarse(), images, torch.device("cpu"))
"""
ORDER = """
import torch
from zeroshot_al.base.files import read_npy
from zeroshot_al.kcenter import kcenter_order
"""
MAKE_ORDER = """
found = kcenter_order(read_npy("embeddings.npy", memory_map={mapped}), 100, precision="float32")
np.savetxt("order.txt", found.order, "%d")
"""
OVERVIEW = """
from dataclasses import replace
import sklearn.cluster, sklearn.decomposition, sklearn.manifold
from zeroshot_al.kcenter.input import canonical_rows
from zeroshot_al.gallery.annotation import AnnotateParams, make_picks
from zeroshot_al.base.files import read_npy
from zeroshot_al.gallery.page import render_gallery
from zeroshot_al.gallery.overview import make_overview
from zeroshot_al.base.pool import load_pool
from zeroshot_al.sources.left_out import read_left_out
"""
MAKE_OVERVIEW = """
pool, left_out = load_pool("pool"), read_left_out("pool")
if not {mapped}:
    pool = replace(pool, images=pool.images.copy())
rows = canonical_rows(read_npy("embeddings.npy", memory_map=True))
nothing = np.empty(0, dtype=np.int64)
params = AnnotateParams(0.0, True, 10, 4, 1, 100, 0)
picks = make_picks(pool, rows, range(300), ["far"] * 300, nothing, left_out, params, None)
overview = make_overview("SimCLR", "kcenter", pool, rows, picks, nothing, left_out, params, None)
assert len(render_gallery(overview)) > 10_000
"""
# K-center and the gallery hold the canonical rows, as large as the embeddings' file: what they may
# take beside them is less than that file, or the images', takes.
EMBEDDINGS = 4 * N_MANY * N_DIMS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def run_limited(folder, limit, imports, work):
    (folder / "step.py").write_text(CODE.format(limit=limit, imports=imports, work=work))
    return run_forked(folder, "step.py", (), {"OMP_NUM_THREADS": "1"})


def test_a_folder_becomes_a_pool_of_twice_the_memory(tmp_path):
    draw = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(N_IMAGES):
        small = Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        large = small.resize((SIDE, SIDE), Image.Resampling.NEAREST)
        large.save(tmp_path / f"photos/{i}.png", compress_level=1)
    done = run_limited(tmp_path, 48 * MIB, DOWNLOAD, MAKE_POOL)
    assert done.returncode == 0, done.stderr
    # The limit is one: what reads the pool as a whole does not pass under it.
    done = run_limited(tmp_path, 48 * MIB, "", READ_WHOLE)
    assert done.returncode == 1
    assert "MemoryError" in done.stderr, done.stderr


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Return a folder with a pool and embeddings of 128 MiB and more."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "pool").mkdir()
    shape = (N_MANY, SMALL_SIDE, SMALL_SIDE, 3)
    # Zeros that take no space on the disk; in memory they do.
    np.lib.format.open_memmap(folder / "pool/images.npy", "w+", np.uint8, shape).flush()
    write_csv(folder / "pool/index.csv", HEADER, ((f"{i}", "train", "a") for i in range(N_MANY)))
    # One cluster holds nearly all of them.
    rows = np.random.default_rng(0).normal(size=(N_MANY, N_DIMS)).astype(np.float32)
    rows[1000:, 0] += 30
    write_npy(folder / "embeddings.npy", rows)
    return folder


@pytest.mark.parametrize(
    ("imports", "work", "limit"),
    [
        (FEATURES, WRITE_FEATURES, 156 * MIB),
        (ORDER, MAKE_ORDER, EMBEDDINGS + 108 * MIB),
        (OVERVIEW, MAKE_OVERVIEW, EMBEDDINGS + 228 * MIB),
    ],
    ids=["features", "k-center order", "overview"],
)
def test_a_step_maps_what_it_reads(large, imports, work, limit):
    done = run_limited(large, limit, imports, work.format(mapped=True))
    assert done.returncode == 0, done.stderr
    # It would not pass if it read the file as a whole.
    done = run_limited(large, limit, imports, work.format(mapped=False))
    assert done.returncode == 1
    assert "memory" in done.stderr.lower(), done.stderr
