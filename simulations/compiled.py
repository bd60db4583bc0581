"""Compiled: numba's decorators with types for the checker; machine code is kept next to the sources.

Compiled functions take only numbers and arrays, must be called with checked input (they check no index), and release
the interpreter's lock, so that threads run them in parallel.
"""

import glob
import hashlib
import logging
import os
import pickle
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property, partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import config, event, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.registry import CPUDispatcher

Function = TypeVar("Function", bound=Callable[..., object])
_HERE = Path(__file__).parent
_IMPORTS = re.compile(
    rb"^\s*(?:from\s+(simulations[\w.]*)\s+import\s+(\([^)]*\)|[^\n]*)|import\s+(simulations[\w.]*))",
    re.MULTILINE,
)
_SEAL_BYTES = hashlib.sha256().digest_size
_damaged: set[Path] = set()  # folders, each of which is reported once
_log = logging.getLogger(__name__)  # its warnings go to stderr, unless logging is set up otherwise


def compiled(function: Function, **options: Any) -> Function:
    """Compile a function at its first call; later processes reuse the machine code if it can be kept."""
    place, make = _place(function), cast("Any", njit)
    if place is None:
        return cast("Function", make(nogil=True, **options)(function))
    settings = cast("Any", config)  # they come from the environment, unknown to the checker
    given, settings.CACHE_DIR = settings.CACHE_DIR, str(place)
    try:
        dispatcher = make(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # numba does not accept the folder
        return cast("Function", make(nogil=True, **options)(function))
    finally:
        settings.CACHE_DIR = given
    _take_constants_as_values(dispatcher)
    _keep_by_content(dispatcher, place)
    _trust_no_disk(dispatcher)
    return cast("Function", dispatcher)


def borrowing(function: Function) -> Function:
    """Compile a function that makes no arrays, without counting references to those of its caller.

    Functions that call each other a hundred times a request with a dozen arrays would mostly count references.
    """
    dispatcher = compiled(function, _nrt=False)
    _optimize_less(dispatcher)
    return dispatcher


def callee(function: Function) -> Function:
    """Compile a function that compiled functions call into each of these, as `borrowing`; Python does not call it."""
    return cast("Function", _Callee(function, is_inlined=False))


def inlined(function: Function) -> Function:
    """Inline a `callee` where it is called: a call would cost more than the work."""
    return cast("Function", _Callee(function, is_inlined=True))


class _Callee(CPUDispatcher):
    """A function of which only the code before optimization is kept, for whoever calls it to be optimized with.

    Numba would optimize each and make machine code of it, which takes longer than all the rest; inlining by numba
    itself, for which it copies the caller at each call, takes longer still.
    """

    def __init__(self, function: Callable[..., object], *, is_inlined: bool) -> None:
        wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        options = {"nopython": True, "_nrt": False, "forceinline": is_inlined, **wrappers}
        super().__init__(function, targetoptions=options, pipeline_class=_CalleeCompiler)
        _take_constants_as_values(self)

    def add_overload(self, cres: Any) -> None:
        """Note a signature for compiled callers, but not for Python, which has nothing to call."""
        self.overloads[tuple(cres.signature.args)] = cres

    def _compile_for_args(self, *_: object, **__: object) -> Any:
        """What Python calls in its place."""
        return self._alone

    @cached_property
    def _alone(self) -> Any:
        """The function by itself, for the readable model; its machine code is not kept."""
        return njit(self.py_func)


def either(one: Function, other: Function, is_other: Callable[[Any], bool]) -> Function:
    """The one of two `callees` that goes with the type of the first argument, which is known when callers are compiled.

    Args:
        is_other: whether a type, as numba has it, is that of the other.
    """
    return cast("Function", _Either(one, other, is_other))


class _Either(CPUDispatcher):
    """A dispatcher that stands for two others, of which it compiles the one that a caller needs."""

    def __init__(self, one: Any, other: Any, is_other: Callable[[Any], bool]) -> None:
        super().__init__(one.py_func)
        self._both, self._is_other = (one, other), is_other

    def _chosen(self, args: Any) -> Any:
        return self._both[self._is_other(args[0])]

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """How a call with arguments of these types is typed."""
        return self._chosen(args).get_call_template(args, kws)

    def get_overload(self, args: Any) -> Any:
        """What is called."""
        return self._chosen(args).get_overload(args)


class _CalleeCompiler(Compiler):
    """Numba's compiler, with a library that stays as it is."""

    def define_pipelines(self) -> Any:
        """The usual passes."""
        name = self.state.func_id.func_qualname
        self.state.library = cast("Any", _CalleeLibrary)(self.state.targetctx.codegen(), name)
        return cast("Any", super()).define_pipelines()


class _CalleeLibrary(JITCodeLibrary):
    """Code that is neither optimized nor turned into machine code, but linked into what calls it."""

    codegen = SimpleNamespace(set_env=lambda *_: None)  # only machine code has a place for its environment

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        cast("Any", self)._finalize_dynamic_globals()
        self._finalized = True


def _place(function: Callable[..., object]) -> Path | None:
    """Folder of a function's machine code, named by all sources that go into it."""
    folder, module = _folder(), function.__module__
    if folder is None:
        return None
    try:
        return folder / f"{module}-{_fingerprint(module, function.__code__.co_filename)}"
    except OSError:  # no file, as in an archive
        return None


@cache
def _folder() -> Path | None:
    """Folder for machine code: the first place that can be written."""
    given = cast("Any", config).CACHE_DIR
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111  (never raises)
    places = [Path(given)] if given else []
    for place in (*places, _HERE / "__pycache__", home / "capacity"):
        folder = place / "compiled"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


@cache
def _fingerprint(module: str, path: str) -> str:
    """Digest of all sources that go into a module's machine code: its own, and its imports from the simulator.

    Numba itself only checks the file of a function, not the files of the parts and constants that it uses.
    """
    sources = {module: Path(path).read_bytes()}
    ahead = [__name__, *_imported(sources[module])]
    while ahead:
        name = ahead.pop()
        file = _HERE.joinpath(*name.split(".")[1:]).with_suffix(".py")
        if name not in sources and file.is_file():
            sources[name] = file.read_bytes()
            ahead += _imported(sources[name])
    return hashlib.sha256(b"".join(sources[name] for name in sorted(sources))).hexdigest()[:16]


def _imported(source: bytes) -> list[str]:
    """Modules of the simulator that a source imports, and names that may be modules of a package."""
    names = []
    for package, parts, module in _IMPORTS.findall(source):
        names += [package or module, *(package + b"." + part for part in re.findall(rb"\w+", parts))]
    return [name.decode() for name in names]


def _take_constants_as_values(dispatcher: Any) -> None:
    """Compile once for all constants that a compiled caller passes; numba would compile for each."""
    template, value_of = dispatcher.get_call_template, cast("Any", types).unliteral

    def by_type(arguments: Any, named: Any) -> Any:
        return template(tuple(map(value_of, arguments)), {name: value_of(one) for name, one in named.items()})

    dispatcher.get_call_template = by_type


def _optimize_less(dispatcher: Any) -> None:
    """Compile at level 2: at numba's own 3 engines take half as long again, and a seventh longer to compile.

    What they compute is the same to the last bit.
    """
    settings, compile_for = cast("Any", config), dispatcher.compile

    def compile_at_two(signature: Any) -> Any:
        given, settings.OPT = settings.OPT, type(settings.OPT)(min(settings.OPT, 2))
        try:
            return compile_for(signature)
        finally:
            settings.OPT = given

    dispatcher.compile = compile_at_two


def _keep_by_content(dispatcher: Any, place: Path) -> None:
    """Share machine code between copies of the same sources, for which numba would compile it again."""
    file: Any = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if not all(
        hasattr(file, part) for part in ("_cache_path", "_index_name", "_index_path", "_source_stamp")
    ):
        return  # another version of numba
    file._cache_path, file._index_path = str(place), str(place / file._index_name)
    file._source_stamp = ""  # the folder is that of its sources


def _trust_no_disk(dispatcher: Any) -> None:
    """Compile again if code cannot be saved, or was changed since; numba would raise, or run it."""
    kept: Any = getattr(dispatcher, "_cache", None)
    file: Any = getattr(kept, "_cache_file", None)
    parts = ("_dump", "_data_path", "_open_for_write", "_save_data", "_load_data", "_index_path")
    if not all(hasattr(file, part) for part in parts):  # another version of numba
        return
    load, save = _loading(kept), kept.save_overload
    file._save_data, file._load_data = partial(_save_sealed, file), partial(_load_sealed, file)

    def load_if_sound(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:  # whatever it takes to unpickle garbage
            _throw_away(Path(file._index_path))
            return None

    def save_if_possible(*arguments: Any) -> None:
        with suppress(Exception):  # it reads the index first
            save(*arguments)

    kept.load_overload, kept.save_overload = load_if_sound, save_if_possible


def _loading(kept: Any) -> Callable[..., Any]:
    """How to load kept machine code: linked with numba's runtime, but without all that only the compiler needs.

    Numba's own way first refreshes its context, which imports and installs every implementation that it could compile
    to, scipy.linalg among them; the first compilation does so too.
    """
    runtime = getattr(import_module("numba.core.runtime"), "rtsys", None)
    parts = ("_load_overload", "_guard_against_spurious_io_errors")
    if not (hasattr(runtime, "initialize") and all(hasattr(kept, part) for part in parts)):
        return cast("Callable[..., Any]", kept.load_overload)  # another version of numba

    def load(signature: Any, context: Any) -> Any:
        cast("Any", runtime).initialize(context)
        with kept._guard_against_spurious_io_errors():
            return kept._load_overload(signature, context)

    return load


def _throw_away(index: Path) -> None:
    """Delete everything kept of a function, and report that once."""
    if index.parent not in _damaged:
        _log.warning("the compiled simulator in %s is damaged; it is compiled again", index.parent)
    _damaged.add(index.parent)
    for path in (index, *index.parent.glob(f"{glob.escape(index.stem)}.*.nbc")):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _save_sealed(file: Any, name: str, data: Any) -> None:
    """Save machine code behind its digest, as damaged code would otherwise be run."""
    code = file._dump(data)
    with file._open_for_write(file._data_path(name)) as opened:
        opened.write(hashlib.sha256(code).digest() + code)


def _load_sealed(file: Any, name: str) -> Any:
    """Load saved machine code; numba takes an OSError for absence, and damaged code is a ValueError."""
    data = Path(file._data_path(name)).read_bytes()
    seal, code = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
    if hashlib.sha256(code).digest() != seal:
        raise ValueError("its digest does not match")
    return pickle.loads(code)  # noqa: S301  (as numba does, of a folder that its user owns)


@contextmanager
def announced(report: Callable[[str], None]) -> Iterator[None]:
    """Report what the very first call waits for; later calls find the machine code on disk."""
    with event.install_listener("numba:compile", _Announcement(report)):
        yield


class _Announcement(event.Listener):
    """Reports once."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._spoken = False

    def on_start(self, _: Any) -> None:
        """Report that something was not found on disk, and is compiled."""
        if not self._spoken:
            self._spoken = True
            self._report("compiling the simulator for this machine, which takes some seconds, once")

    def on_end(self, _: Any) -> None:
        """Do nothing: the caller will report itself."""
