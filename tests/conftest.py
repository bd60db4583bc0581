"""Fixtures that several test files use."""

import asyncio
import gc
import inspect
import os
import signal
from collections.abc import Generator, Iterator
from functools import cache

import pytest
import typer.testing

# Its runner makes all commands again at each call, which takes longer than most of them.
typer.testing._get_command = cache(typer.testing._get_command)  # type: ignore[attr-defined]


def pytest_configure() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so does all that it starts in turn."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop("COLUMNS", None)  # some shells export the width of their terminal
    gc.disable()  # while tests are collected, which leave no garbage


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Tests hold no doctests; to look for them in every function of every file takes seconds."""
    return [found for found in (yield) if type(found).__name__ != "DoctestModule"]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine to its end."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


def pytest_collection_finish() -> None:
    """What was collected stays; to look for garbage as often as a small program does takes a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes by its nature may take a quarter of an hour."""
    for item in items:
        if any(item.get_closest_marker(name) for name in ("long", "notebook", "browser")):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture
def deadline() -> Iterator[None]:
    """No hang: what has not ended within a minute fails."""

    def give_up(number: int, frame: object) -> None:
        raise TimeoutError("hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def no_headroom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans do not say at which rate they end: to find it takes most of the time of most of them."""
    monkeypatch.setattr("capacity.search.plan_decision.find_headroom", lambda *_: None)
