"""Which device, and how many threads: small functions without side effects."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from emoser.errors import DeviceError, UsageError

DEVICES = ("auto", "cpu", "cuda")
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
MOST_THREADS = 1024  # asked for; a runtime starts all of them before it computes, and with tens of thousands never begins
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # cgroup v2: "quota period" in microseconds, or "max period"


def check_device(device: str) -> str:
    if device not in DEVICES:
        raise UsageError(f"device is {device!r}; allowed: {', '.join(DEVICES)}")
    return device


def choose_providers(device: str, available: Sequence[str]) -> list[str]:
    """The execution providers to ask onnxruntime for, best first.

    >>> choose_providers("auto", ["CUDAExecutionProvider", "CPUExecutionProvider"])
    ['CUDAExecutionProvider', 'CPUExecutionProvider']
    >>> choose_providers("auto", ["AzureExecutionProvider", "CPUExecutionProvider"])
    ['CPUExecutionProvider']
    >>> choose_providers("cuda", ["CPUExecutionProvider"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    emoser.errors.DeviceError: device "cuda" is not there: this onnxruntime has CPUExecutionProvider. Use device="cpu", or install ...
    """
    check_device(device)
    if device == "cpu" or (device == "auto" and CUDA not in available):
        return [CPU]
    if CUDA not in available:
        raise DeviceError(
            f'device "cuda" is not there: this onnxruntime has {", ".join(available)}. Use device="cpu", or install the GPU build: '
            'pip uninstall -y onnxruntime && pip install "emoser[gpu]"'
        )
    return [CUDA, CPU]


def usable_threads(quota: Path = QUOTA) -> int:
    """Cores that this process may use: its affinity, and a container's share where that is less."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()
        count = min(count, math.ceil(int(share) / int(period)))
    except (OSError, ValueError):  # no cgroup v2 here, or "max": no limit
        pass
    return max(1, count)


def check_threads(threads: int | None) -> int:
    if threads is None:
        return usable_threads()
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        here = usable_threads()
        raise UsageError(f"threads is {threads!r}; a whole number from 1 to {MOST_THREADS} is needed, or None for {here} here")
    return threads
