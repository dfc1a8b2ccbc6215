import platform
import subprocess
import sys
import textwrap

import numpy as np
import psutil
import pytest
import torch

from tiny_training import start
from zeroshot_al.base.errors import InputError
from zeroshot_al.kcenter import kcenter_order
from zeroshot_al.process import memory
from zeroshot_al.process.memory import GIB, available_memory, check_memory

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
KIB = {"MemTotal": 2**25, "MemFree": 2**20, "MemAvailable": 2**24}
KIB |= dict.fromkeys(("Buffers", "Cached", "Shmem", "Active", "Inactive"), 0)
MEMINFO = "".join(f"{name}: {kib} kB\n" for name, kib in KIB.items())


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Return a function that writes a file of an imitated / and returns that."""

    def write(**texts):
        for name, text in texts.items():
            file = tmp_path / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"))
    monkeypatch.delattr(psutil, "RLIMIT_AS", raising=False)  # it would look there too
    write(proc__meminfo=MEMINFO)
    return write


def write_group(root, group, **files):
    (root / group).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / group / name.replace("__", ".")).write_text(text)


def test_the_machine_s_available_memory_counts_not_its_free_one(system):
    assert available_memory(system()) == 16 * GIB


@pytest.mark.parametrize("limited", ["batch", "batch/job7"])
def test_a_control_group_of_version_2_and_those_around_it(system, limited):
    root = system(proc__self__cgroup="0::/batch/job7\n")
    for group in ("batch", "batch/job7"):
        limit = str(6 * GIB) if group == limited else "max"
        write_group(
            root,
            f"sys/fs/cgroup/{group}",
            memory__max=limit + "\n",
            memory__current=f"{4 * GIB}\n",
            memory__stat=f"anon 5\ninactive_file {GIB}\n",
        )
    assert available_memory(root) == 3 * GIB


def test_a_control_group_of_version_1_as_a_container_sees_it(system):
    # The path is the host's; the container's own group is mounted at the top.
    root = system(proc__self__cgroup="5:cpuset:/docker/ab12\n4:memory:/docker/ab12\n")
    write_group(
        root,
        "sys/fs/cgroup/memory",
        memory__limit_in_bytes=f"{2 * GIB}\n",
        memory__usage_in_bytes=f"{GIB}\n",
        memory__stat="total_inactive_file 0\n",
    )
    assert available_memory(root) == GIB


def test_the_sentence(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 20 * GIB)
    check_memory(20 * GIB, "this", "do that")
    with pytest.raises(InputError) as told:
        check_memory(301 * GIB, "pretraining on 1,000,000 images", "lower data.size_px")
    assert str(told.value) == (
        "pretraining on 1,000,000 images needs 301.0 GiB of memory and 20.0 are available; "
        "lower data.size_px"
    )


@linux
def test_more_than_this_machine_has():
    assert 0 < available_memory() < 2**50
    points = np.broadcast_to(np.ones(1, dtype=np.float32), (10**9, 10**6))  # of 4 bytes
    with pytest.raises(InputError, match=r"k-center on embeddings of 1,000,000,000 x 1,000,000 "):
        kcenter_order(points, 5)


def order_under_a_limit(n_bytes, available):
    points = np.random.default_rng(0).normal(size=(20_000, 64))
    limit = psutil.Process().memory_info().vms + n_bytes
    psutil.Process().rlimit(psutil.RLIMIT_AS, (limit, limit))
    available.write_text(str(available_memory()))
    # The points' canonical rows take 5 MiB and the rest 4.
    with pytest.raises(InputError, match=r"k-center on embeddings of 20,000 x 64 needs 8\.7"):
        kcenter_order(points, 5)


@linux
def test_the_process_s_own_limit(tmp_path):
    process = start(order_under_a_limit, 8 * 2**20, tmp_path / "available")
    process.join()
    assert process.exitcode == 0
    assert 0 <= int((tmp_path / "available").read_text()) <= 8 * 2**20


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_more_than_the_gpu_has():
    device = torch.device("cuda")
    check_memory(2**20, "this", "do that", device)
    with pytest.raises(InputError, match="GiB of GPU memory"):
        check_memory(2**50, "this", "do that", device)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
@pytest.mark.parametrize(("size_mib", "kept"), [(100, True), (600, False)])
def test_freed_memory_is_kept_for_the_next_step_and_that_of_a_pool_is_not(size_mib, kept):
    script = f"""
        import resource
        import numpy as np
        from zeroshot_al.process.memory import keep_freed_memory

        keep_freed_memory()
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            np.empty({size_mib} << 18, np.float32).fill(1.0)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    faults = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert (faults < 10) == kept
