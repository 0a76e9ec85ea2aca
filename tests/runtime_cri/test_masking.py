"""What no container may look into unless it asks: the usual paths, and those of this device."""

from __future__ import annotations

from pathlib import Path

from edgeagent.runtime.masking import masked_paths


def test_heat_counters_of_each_cpu_that_has_them_are_masked(tmp_path: Path) -> None:
    for name in ("cpu0/thermal_throttle", "cpu10/thermal_throttle", "cpu2", "cpufreq"):
        (tmp_path / name).mkdir(parents=True)
    found = masked_paths(tmp_path)
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} < set(found)
    assert [one for one in found if one.startswith(str(tmp_path))] == [
        f"{tmp_path}/cpu0/thermal_throttle",
        f"{tmp_path}/cpu10/thermal_throttle",
    ]


def test_a_device_without_them_has_the_usual_masks(tmp_path: Path) -> None:
    assert masked_paths(tmp_path / "none") == masked_paths(tmp_path)
    assert "/proc/kcore" in masked_paths(tmp_path)
