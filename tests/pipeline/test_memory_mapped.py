"""A pool is never in memory as a whole: made and opened under a limit that is half of it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SRC = Path(__file__).parents[2] / "src"
SIDE, N_IMAGES = 1024, 64  # 192 MiB of pixels in 64 small files
LIMIT = 96 * 2**20
CODE = """
import resource, sys
from pathlib import Path
import numpy as np
from zeroshot_al.files import replaced_directory
from zeroshot_al.pool import load_pool, save_pool
from zeroshot_al.sources import DataParams, load_source

def what_is_held():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmData:")[1].split()[0]) * 1024

# Not RLIMIT_AS, which counts mapped files; workers inherit it and have pages of their own.
limit = what_is_held() + {limit}
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
{work}
"""
DOWNLOAD = """
with replaced_directory("pool") as directory:
    save_pool(load_source(DataParams("folder", "photos", {side}), "", directory), directory)
pool = load_pool("pool")
assert len(pool.train_images) == {n_images}
"""
READ_WHOLE = """
np.load("pool/images.npy", allow_pickle=False)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def run_limited(folder, work):
    code = CODE.format(limit=LIMIT, work=work)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={"PYTHONPATH": str(SRC)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_folder_becomes_a_pool_of_twice_the_memory(tmp_path):
    draw = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(N_IMAGES):
        small = Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        large = small.resize((SIDE, SIDE), Image.Resampling.NEAREST)
        large.save(tmp_path / f"photos/{i}.png", compress_level=1)
    done = run_limited(tmp_path, DOWNLOAD.format(side=SIDE, n_images=N_IMAGES))
    assert done.returncode == 0, done.stderr
    # The limit is one: what reads the pool as a whole does not pass under it.
    done = run_limited(tmp_path, READ_WHOLE)
    assert done.returncode == 1
    assert "MemoryError" in done.stderr, done.stderr
