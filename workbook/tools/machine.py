"""What this machine, or the share of it that a container or scheduler grants, can carry."""

import os
from pathlib import Path

MEMORY_PER_JOB = 3 * 2**30  # bytes; what the largest notebooks need
CGROUPS, PROCESS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def whole_machine(threads: int) -> int:
    """How many notebooks to run at a time: as many as cores and memory allow."""
    return max(1, min(cores() // threads, memory() // MEMORY_PER_JOB))


def cores() -> int:
    """The number of whole cores that this process may use, at least 1."""
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE") or affine  # of a job
    shares = [int(quota) / int(period) for quota, period in _limits("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")]
    return max(1, int(min([affine, int(granted), *shares])))


def memory() -> int:
    """The bytes of memory that this process may use."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        there = cores() * MEMORY_PER_JOB
    return min([there, *(int(limit) for (limit,) in _limits("memory.max", "memory.limit_in_bytes"))])


def _limits(modern: str, *former: str) -> list[list[str]]:
    """The limits of this process's control groups and of all groups around them, in version 2 or version 1."""
    try:
        lines = PROCESS.read_text("utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:  # "0::/a/b" in version 2, "4:cpu,cpuacct:/a/b" in version 1
        _, controllers, path = line.split(":", 2)
        if controllers and former[0].split(".")[0] not in controllers.split(","):
            continue
        names, root = (former, CGROUPS / former[0].split(".")[0]) if controllers else ((modern,), CGROUPS)
        group = root / path.strip("/")
        for folder in [group, *group.parents]:  # inside a container, its own group is the root
            if folder.is_relative_to(root) and all((folder / name).is_file() for name in names):
                limit = " ".join((folder / name).read_text("utf-8").strip() for name in names).split()
                if limit[0].isdecimal():  # neither "max" nor "-1"
                    found.append(limit)
    return found
