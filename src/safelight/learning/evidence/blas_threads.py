"""one_blas_thread: arithmetic of small matrices in one thread.

A BLAS library divides every product among all cores, and its idle threads burn their time waiting:
for matrices of a few hundred rows that takes three to six times the processor's time, and longer.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator

__all__ = ["one_blas_thread"]


@contextlib.contextmanager
def one_blas_thread(*libraries: str) -> Iterator[None]:
    """Hold every BLAS of this process to one thread meanwhile.

    Args:
        *libraries: Modules that bring a BLAS of their own and are used meanwhile, such as
            ``scipy.linalg``: one that is loaded later is not held.

    The limit is the process's own. Where two threads calculate at once, it may be given back too
    early, or kept: the answers are the same.
    """
    from threadpoolctl import threadpool_limits

    for library in libraries:
        importlib.import_module(library)
    with threadpool_limits(1, "blas"):
        yield
