"""`capacity agreement` on made-up systems: each one is compared, listed and counts for the exit code."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import in_process
import pytest

from simulations.replication import Engine
from simulations.statistics.intervals import Estimate
from simulations.validation.agreement import Row
from simulations.validation.grid import Grid


def made_up(monkeypatch: pytest.MonkeyPatch, value: float = 1.0) -> list[tuple[Any, ...]]:
    """Two systems of one row each; theory says 1, and the second simulates `value`. Returns what was asked."""
    asked: list[tuple[Any, ...]] = []

    def systems(grid: Grid) -> list[Any]:
        asked.append((grid,))
        return [SimpleNamespace(name="one"), SimpleNamespace(name="other")]

    def compare(system: Any, seed: int, requests_max: int, mapper: Any, engine: Engine) -> list[Row]:
        asked.append((system.name, seed, requests_max, callable(mapper), engine))
        found = Estimate(value=1.0 if system.name == "one" else value, standard_error=0.001, degrees=19)
        return [Row(system=system.name, quantity="wait_mean_s", theory=1.0, simulation=found, allowance=0.0)]

    monkeypatch.setattr("simulations.validation.grid.systems", systems)
    monkeypatch.setattr("simulations.validation.agreement.compare", compare)
    return asked


def test_every_system_of_the_grid_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = made_up(monkeypatch)
    done = in_process.capacity(tmp_path, "agreement", "--json", "--seed", 3, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert asked == [
        (Grid.SHORT,),
        ("one", 3, 200_000_000, True, Engine.KERNEL),
        ("other", 3, 200_000_000, True, Engine.KERNEL),
    ]
    found = json.loads(done.stdout)
    assert (found["agrees"], found["seed"]) == (True, 3)
    assert [one["system"] for one in found["rows"]] == ["one", "other"]
    assert "simulating one" in done.stderr


def test_one_disagreement_sets_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = made_up(monkeypatch, value=1.5)
    flags = ["--grid", "full", "--engine", "simpy", "--requests-max", 1000, "--workers", 1]
    done = in_process.capacity(tmp_path, "agreement", *flags)
    assert done.returncode == 4
    assert asked[0] == (Grid.FULL,)
    assert asked[1] == ("one", 0, 1000, True, Engine.SIMPY)
    verdicts = re.findall(r"\b(?:dis)?agrees\b", done.stdout)
    assert verdicts == ["agrees", "disagrees"]
