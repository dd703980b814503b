"""one_blas_thread: arithmetic of small matrices in one thread.

A BLAS library divides every product among all cores, and its idle threads burn their time waiting:
for matrices of a few hundred rows that takes three to six times the processor's time, and longer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["one_blas_thread"]


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold every BLAS of this process to one thread meanwhile.

    The limit is the process's own. Where two threads calculate at once, it may be given back too
    early, or kept: the answers are the same.
    """
    import scipy.linalg  # noqa: F401 - brings a library of its own, which must be there by now
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield
