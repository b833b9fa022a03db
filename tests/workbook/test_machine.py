"""How many notebooks a machine, or a share of one, carries at a time."""

import os

import pytest

from workbook.tools import machine


@pytest.fixture
def give(monkeypatch, tmp_path):
    """A machine with these cores and gibibytes, in a control group with these ``limits`` {file: content}."""

    def set_to(cores, gibibytes, group="0::/\n", **limits):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": int(gibibytes * 2**18)}
        monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
        monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
        monkeypatch.setattr(machine, "PROCESS", tmp_path / "process")
        machine.PROCESS.write_text(group, "utf-8")
        for name, content in limits.items():
            path = machine.CGROUPS / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, "utf-8")
        return [machine.whole_machine(threads) for threads in (1, 2, 16)]

    return set_to


def test_as_many_notebooks_at_a_time_as_cores_and_memory_carry(give):
    assert give(8, 64) == [8, 4, 1]
    assert give(8, 7) == [2, 2, 1], "three gibibytes each"
    assert give(1, 1) == [1, 1, 1]


@pytest.mark.parametrize("place", ["", "user__job__"], ids=["in a container", "in a group of a scheduler"])
def test_a_control_group_of_half_a_processor_and_two_gibibytes_carries_one(give, place):
    group = "0::/" + place.replace("__", "/").strip("/") + "\n"
    half, two = f"{place}cpu_DOT_max", f"{place}memory_DOT_max"
    assert give(16, 64, group, **{half: "50000 100000\n", two: f"{2 * 2**30}\n"}) == [1, 1, 1]
    assert give(16, 64, group, **{half: "350000 100000\n", two: "max\n"}) == [3, 1, 1]
    assert give(16, 64, group, **{half: "max 100000\n", two: f"{13 * 2**30}\n"}) == [4, 4, 1]
    assert give(16, 64, group, **{half: "max 100000\n", two: "max\n"}) == [16, 8, 1]


def test_a_limit_of_a_group_around_ours_counts(give):
    limits = {"user__memory_DOT_max": f"{7 * 2**30}\n", "user__job__memory_DOT_max": "max\n"}
    assert give(16, 64, "0::/user/job\n", **limits) == [2, 2, 1]


def test_control_groups_of_version_1_count_too(give):
    group = "5:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/\n"
    quota = {"cpu__job__cpu_DOT_cfs_quota_us": "250000\n", "cpu__job__cpu_DOT_cfs_period_us": "100000\n"}
    assert give(16, 64, group, **quota) == [2, 1, 1]
    memory = {"memory__job__memory_DOT_limit_in_bytes": f"{4 * 2**30}\n"}
    assert give(16, 64, group, **quota, **memory) == [1, 1, 1]
    none = {"cpu__job__cpu_DOT_cfs_quota_us": "-1\n", "memory__job__memory_DOT_limit_in_bytes": f"{2**63 - 4096}\n"}
    assert give(16, 64, group, **none) == [16, 8, 1]


def test_a_machine_without_control_groups_has_no_limits(give, monkeypatch, tmp_path):
    give(4, 64)
    monkeypatch.setattr(machine, "PROCESS", tmp_path / "none")
    assert machine.whole_machine(1) == 4
