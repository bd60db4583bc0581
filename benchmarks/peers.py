"""Peers: other simulators of the same systems, each written as its own documentation writes models.

    pip install ciw cimba salabim

None is a dependency. A missing one is reported as absent, and systems that one cannot express are left out with the
reason.
"""

import importlib
import importlib.metadata
import importlib.util

from systems import BATCHES, LEAST, MM8, TWO, Contestant, System

PACKAGES = {"cimba": "cimba", "SimPy": "simpy", "ciw": "ciw", "salabim": "salabim"}
_FUNCTIONS = {
    MM8.name: "shared_queue",
    BATCHES.name: "batches",
    LEAST.name: "least_outstanding",
    TWO.name: "power_of_two",
}
# Requests of one round of timing, in the order of the systems; 0 if a peer cannot express one.
_REQUESTS = {
    "cimba": (1_000_000, 2_000_000, 1_000_000, 1_000_000),
    "SimPy": (50_000, 50_000, 40_000, 40_000),
    "ciw": (25_000, 0, 8_000, 8_000),
    "salabim": (3_000, 4_000, 3_000, 3_000),
}
INEXPRESSIBLE = {"ciw": "its servers take customers one by one, so that batches with a timer are beyond it"}


def installed(peer: str) -> bool:
    return importlib.util.find_spec(PACKAGES[peer]) is not None


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def peers(system: System) -> list[Contestant]:
    """The peers that are installed and can express the system."""
    place = tuple(_FUNCTIONS).index(system.name)
    return [
        Contestant(peer, system, sizes[place], getattr(_module(peer), _FUNCTIONS[system.name]))
        for peer, sizes in _REQUESTS.items()
        if sizes[place] and installed(peer)
    ]


def left_out(system: System) -> dict[str, str]:
    """Peers that do not take part, and why."""
    place = tuple(_FUNCTIONS).index(system.name)
    absent = {peer: f"pip install {PACKAGES[peer]}" for peer in PACKAGES if not installed(peer)}
    unable = {peer: INEXPRESSIBLE[peer] for peer, sizes in _REQUESTS.items() if not sizes[place]}
    return unable | absent


def _module(peer: str) -> object:
    return importlib.import_module(f"peer_{PACKAGES[peer]}")
