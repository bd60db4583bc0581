"""Callables that are measured: found by name, timed by the clock, and what goes wrong in them."""

import sys

import pytest

from capacity.errors import DependencyError, InputError
from capacity.measurement.callable import CallableSubject, load
from capacity.measurement.rounds import TimedBatch

MODULE = """
import sys
CONSTANT = 3
def predict(batch_size): return batch_size
def chatty(batch_size): print("loading", batch_size)
def fails(batch_size): raise ValueError("line one\\nline \\x1b[31mtwo " + "x" * 1000)
def leaves(batch_size): sys.exit(0)
def two(batch_size, other): pass
async def later(batch_size): pass
def begun(batch_size): return later(batch_size)
def lazy(batch_size): return (row for row in range(batch_size))
class Model:
    @staticmethod
    def predict(batch_size): return 2 * batch_size
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the current directory, whose name is new in each test."""
    name = f"bench_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield name
    sys.modules.pop(name, None)


def message(call) -> str:
    with pytest.raises((InputError, DependencyError)) as caught:
        call()
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 500
    return text


def test_a_function_is_found_by_name(module):
    assert load(f"{module}:predict")(7) == 7
    assert load(f"{module}:Model.predict")(7) == 14
    assert load("builtins:range")(2) == range(2)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("predict", "must be module:function"),
        ("a:b:c", "must be module:function"),
        ("../x:y", "must be module:function"),
        ("{module}:nothing", "has no nothing"),
        ("{module}:Model.nothing", "has no Model.nothing"),
        ("{module}:CONSTANT", "must be a function that takes one argument"),
        ("{module}:two", "must be a function that takes one argument, the batch size"),
        ("no_such_module_here:f", "there is no module no_such_module_here in the current directory"),
    ],
)
def test_what_is_no_such_function(module, name, said):
    text = message(lambda: load(name.format(module=module)))
    assert said in text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_thing_at_all", "cannot be imported: ModuleNotFoundError: No module named 'no_such_thing"),
        ("x = 1\nraise RuntimeError('broken')", r"cannot be imported: RuntimeError: broken (broken.py line 2)"),
        ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
        ("def f(:", "cannot be imported: SyntaxError"),
    ],
)  # fmt: skip
def test_a_module_that_cannot_be_imported(module, tmp_path, source, said):
    (tmp_path / "broken.py").write_text(source, encoding="utf-8")
    text = message(lambda: load("broken:f"))
    assert said in text
    assert str(tmp_path) not in text


def test_the_clock_times_the_call():
    now = iter([5.0, 5.25])
    called = []
    subject = CallableSubject(called.append, lambda: next(now))
    assert subject.serve(4) == TimedBatch(service_s=0.25)
    assert called == [4]


def test_what_a_callable_prints_is_not_the_answer(module, capsys):
    CallableSubject(load(f"{module}:chatty"), lambda: 0.0).serve(3)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "loading 3\n"


def test_what_a_callable_raises_is_told_in_a_line(module, tmp_path):
    subject = CallableSubject(load(f"{module}:fails"), lambda: 0.0)
    with pytest.raises(DependencyError) as caught:
        subject.serve(8)
    text = str(caught.value)
    assert text.startswith("the callable failed on a batch of 8: ValueError: line one line ?[31mtwo xx")
    assert text.endswith(f"({module}.py line 6)")
    assert text.isprintable()
    assert len(text) < 400
    assert str(tmp_path) not in text
    with pytest.raises(DependencyError, match="SystemExit: 0"):
        CallableSubject(load(f"{module}:leaves"), lambda: 0.0).serve(8)


def test_an_interrupt_in_a_callable_is_one():
    def stopped(batch_size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CallableSubject(stopped, lambda: 0.0).serve(1)


@pytest.mark.parametrize(
    ("name", "kind"), [("begun", "coroutine"), ("later", "coroutine"), ("lazy", "generator")]
)
def test_what_only_began_is_not_timed(module, name, kind):
    """Making either takes microseconds, whatever the batch would."""
    text = message(lambda: CallableSubject(load(f"{module}:{name}"), lambda: 0.0).serve(2))
    assert f"gave back a {kind}, which has served nothing yet; name a function that runs it" in text


def test_only_the_first_answer_is_looked_at(monkeypatch):
    looked_at = []
    monkeypatch.setattr("capacity.measurement.callable.inspect.isawaitable", looked_at.append)
    subject = CallableSubject(lambda batch_size: 10 * batch_size, lambda: 0.0)
    for size in (1, 2, 4):
        subject.serve(size)
    assert looked_at == [10]


def test_no_answer_is_held_beyond_the_time_that_is_taken():
    """To give it back is a part of what a call takes, of a large one no small part."""
    held = []

    class Answer:
        def __del__(self) -> None:
            held.append("given back")

    ticks = iter(range(4))

    def clock() -> float:
        held.append("clock")
        return float(next(ticks))

    subject = CallableSubject(lambda batch_size: Answer(), clock)
    subject.serve(1)
    held.clear()
    subject.serve(1)
    assert held == ["clock", "given back", "clock"]


def test_a_callable_without_python_code_has_no_place():
    def refuses(call):
        with pytest.raises(DependencyError) as caught:
            CallableSubject(call, lambda: 0.0).serve(3)
        return str(caught.value)

    assert refuses([].__getitem__).endswith("IndexError: list index out of range")
