"""What all tests of load tests take for granted."""

from types import SimpleNamespace

import pytest


@pytest.fixture(autouse=True)
def no_search_for_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a load test: of all that the tests have in memory, it takes longer than most of them."""
    nothing = SimpleNamespace(collect=lambda: None, freeze=lambda: None, unfreeze=lambda: None)
    monkeypatch.setattr("capacity.verification.clock.gc", nothing)
