"""Environment: on what a measurement was made, as far as it bears on the figures; no host, user or path."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from capacity.reading import printable

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_RUNTIMES = ("numpy", "onnxruntime", "torch", "tensorflow", "jax", "openvino")
_CPUINFO_BYTES_MAX = 1 << 16
_TEXT_MAX = 200


def machine() -> dict[str, str]:
    """The machine that this process is on, and the day."""
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count() or "unknown"),
        "kernel": _text(f"{platform.system()} {platform.release()} {platform.machine()}"),
        "date": datetime.now(UTC).date().isoformat(),
    }


def process() -> dict[str, str]:
    """What this process may use and has loaded, where it is this process that serves."""
    threads = [f"{name}={os.environ[name]}" for name in _THREAD_VARIABLES if name in os.environ]
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return {
        "cores_usable": str(usable),
        "threads": _text(", ".join(threads) or "not limited"),
        "python": platform.python_version(),
        **{name: found for name in _RUNTIMES if name in sys.modules and (found := _version(name))},
    }


def _cpu() -> str:
    """The processor's model name."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            lines = file.read(_CPUINFO_BYTES_MAX).splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return _text(names[0] if names else platform.processor() or "unknown")


def _version(module: str) -> str | None:
    """What a loaded module says of its version, else what its package does."""
    told = getattr(sys.modules[module], "__version__", None)
    try:
        return _text(told if isinstance(told, str) else version(module))
    except PackageNotFoundError:
        return None


def _text(value: str) -> str:
    return printable(value)[:_TEXT_MAX]
