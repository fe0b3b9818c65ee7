"""What it looks like when there is no memory left, in the words of each library that we use.

Only Python has an exception of its own for it. Tested in ``tests/faults/test_out_of_memory.py``.
"""

from __future__ import annotations

import errno

from msedge.errors import MSEdgeError

_WORDS = (
    "bad_alloc",  # C++: ONNX Runtime, faiss
    "bad allocation",
    "can't allocate memory",  # PyTorch on a CPU
    "cannot allocate memory",  # the C library
    "can't start new thread",  # Python: a thread wants room for its stack
    "failed to allocate memory",  # ONNX Runtime
    "bfcarena::",  # ONNX Runtime's reserves, in a message that is often cut
    "bfc_arena",
    "failed to map segment from shared object",  # the loader of libraries
    "out of memory",  # PyTorch on a GPU, SQLite
)


class OutOfMemoryError(MSEdgeError):
    """There is no memory left for what was asked."""


def as_out_of_memory(error: BaseException) -> OutOfMemoryError | None:
    """What to tell a person of an error that means that memory ran out; None for any other.

    >>> print(as_out_of_memory(MemoryError()))
    out of memory: end other programs, or do less at a time; what was stored before is whole
    >>> as_out_of_memory(ValueError("no such colour")) is None
    True
    """
    if isinstance(error, OutOfMemoryError):
        return error
    if not _means_it(error):
        return None
    return OutOfMemoryError(
        "out of memory: end other programs, or do less at a time; what was stored before is whole"
    )


def _means_it(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    # Loaders and native code have no class of their own for it.
    return isinstance(error, Exception) and any(words in text for words in _WORDS)
