"""Compiled: numba's decorators with types for the checker; machine code is kept beside the source.

Compiled functions take numbers and arrays only, are called with checked input alone (they check no
index), and release the interpreter's lock, so that threads run them side by side.
"""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Machine code, made at the first call and found again by later processes."""
    return cast("Function", njit(cache=True, nogil=True)(function))


def inlined(function: Function) -> Function:
    """A part of compiled functions, copied to where it is called: a call would cost more than it does."""
    return cast("Function", njit(inline="always")(function))
