"""The one decorator that carries the compiler's options."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numba

if TYPE_CHECKING:
    from numba.core.dispatcher import Dispatcher

_Function = TypeVar("_Function", bound=Callable[..., object])

# contract: fused multiply-add. nsz: the sign of zero is free, which lets abs and max vectorise.
# Never plain True: it would let the compiler assume that there are no NaN.
FASTMATH = {"contract", "nsz"}

# A cache next to the sources, or where NUMBA_CACHE_DIR says; FASTMOMENTS_CACHE=0 switches it off.
CACHE = os.environ.get("FASTMOMENTS_CACHE", "1") != "0"


def jit(*, allocates: bool = True) -> Callable[[_Function], Dispatcher[_Function]]:
    """Compile a kernel, which `threads.spread` runs, lazily for whatever arrays come, and cache it.

    One that allocates nothing need not count references, which makes it compile faster.
    """
    return numba.njit(  # type: ignore[call-overload]  # numba's stubs leave out some of them
        error_model="numpy",
        fastmath=set(FASTMATH),
        nogil=True,
        cache=CACHE,
        no_cfunc_wrapper=True,
        _nrt=allocates,
    )


def helper(*, reassociate: bool = False) -> Callable[[_Function], Dispatcher[_Function]]:
    """Compile a function that only kernels call, into each of them.

    It is cached inside them, and the wrappers for calls from Python and C would only cost compile time. It
    allocates nothing, so it need not count references (`_nrt`): to count those of its arguments takes as
    long as what it does with a row.
    Always inlined: of a function that is not, every kernel brings a copy, optimised in its own way, and the
    program runs the one that was loaded first, so that the last bits would depend on what was compiled or
    read from the cache before.
    """
    fastmath = {*FASTMATH, "reassoc"} if reassociate else set(FASTMATH)
    return numba.njit(  # type: ignore[call-overload]  # of these options numba's stubs leave out three
        error_model="numpy",
        fastmath=fastmath,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        forceinline=True,
        _nrt=False,
    )
