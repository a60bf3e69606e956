"""z = x where c, else y: by bits for large arrays, without a branch an element.

``np.where`` and masked copies branch on every element: where the condition is
as good as random that costs 3 to 5 ns each.  Masks of bits cost 0.5 ns and give
the same bits, NaN and signed zeros included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "choose",
    "choose_workspace",
    "keep_positive",
    "positive_workspace",
    "settle_positive",
]

# Below this the four passes cost more than the branches.
_LEAST = 2048
# Elements per tile: the tiles of all operands stay in a second-level cache.
_TILE = 16384

_INTEGERS = {n: np.dtype(f"i{n}") for n in (2, 4, 8)}


def choose_workspace(inputs: Sequence[Any], outputs: Sequence[Any], attrs: Any) -> Any:
    """Two tiles of scratch, where :func:`choose` works by bits."""
    out = outputs[0]
    n = math.prod(out.dims)
    word = _INTEGERS.get(out.dtype.size)
    if n < _LEAST or word is None or out.dtype.kind not in (1, 2):
        return ()
    return [(word, (min(n, _TILE),))] * 2


def choose(xp: Any, c: Any, x: Any, y: Any, out: Any = None, work: Any = None) -> Any:
    """x where ``c`` holds, else y, with broadcasting; ``out`` may be x or y."""
    if out is None:
        return xp.where(c, x, y)
    word = _INTEGERS.get(out.itemsize)
    if (
        out.size < _LEAST
        or word is None
        or out.dtype.kind not in "fiu"
        or not all(_fits(a, out) for a in (c, x, y))
        or c.ndim == 0
    ):
        if np.may_share_memory(out, x):
            x = x.copy()  # the first copy would overwrite it
        xp.copyto(out, y)  # out may be y: then this changes nothing
        xp.copyto(out, x, where=c)
        return out
    _by_bits(c, x, y, out, word, work)
    return out


def _fits(a: Any, out: Any) -> bool:
    """Whether ``a`` is a scalar or is read tile by tile beside ``out``."""
    return bool(a.ndim == 0 or (a.shape == out.shape and a.flags.c_contiguous))


def _by_bits(c: Any, x: Any, y: Any, out: Any, word: Any, work: Any) -> None:
    n = out.size
    if not work:
        work = np.empty(min(n, _TILE), word), np.empty(min(n, _TILE), word)
    mask, bits = work
    chosen = c.reshape(-1).view(np.int8)
    first, second, result = (
        a.view(word) if a.ndim == 0 else a.reshape(-1).view(word) for a in (x, y, out)
    )
    for start in range(0, n, _TILE):
        stop = min(start + _TILE, n)
        k, t = mask[: stop - start], bits[: stop - start]
        a = first if first.ndim == 0 else first[start:stop]
        b = second if second.ndim == 0 else second[start:stop]
        np.negative(chosen[start:stop], out=k, dtype=word)  # all bits, or none
        np.bitwise_xor(a, b, out=t)
        np.bitwise_and(t, k, out=t)
        np.bitwise_xor(b, t, out=result[start:stop])


def positive_workspace(
    inputs: Sequence[Any], outputs: Sequence[Any], attrs: Any
) -> Any:
    """The scratch of :func:`keep_positive`: a tile of bools and one of masks."""
    n = min(math.prod(outputs[0].dims), _TILE)
    return [(np.bool_, (n,)), (_INTEGERS[outputs[0].dtype.size], (n,))]


def keep_positive(xp: Any, y: Any, g: Any, out: Any = None, work: Any = None) -> Any:
    """g where y > 0, else 0 (also for infinite g); ``out`` may be y or g."""
    if out is None:
        out = xp.empty(y.shape, y.dtype)
    word = _INTEGERS[out.itemsize]
    if not (y.flags.c_contiguous and g.flags.c_contiguous):
        if not np.may_share_memory(out, g):
            whole = out.view(word)
            xp.greater(y, 0, out=whole)
            xp.negative(whole, whole)
            xp.bitwise_and(whole, g.view(word), whole)
            return out
        every = xp.negative(xp.greater(y, 0).view(np.int8), dtype=word)
        xp.bitwise_and(every, g.view(word), out=out.view(word))
        return out
    if not work:
        n = min(out.size, _TILE)
        work = np.empty(n, np.bool_), np.empty(n, word)
    for sign, positive, flags, mask, bits, result in _positive_tiles(y, g, out, work):
        xp.greater(sign, 0, positive)
        xp.negative(flags, mask, dtype=word)  # all bits, or none
        xp.bitwise_and(mask, bits, result)
    return out


def _positive_tiles(y: Any, g: Any, out: Any, work: Any) -> list[tuple[Any, ...]]:
    """Views of the arrays of :func:`keep_positive`, tile by tile."""
    word = _INTEGERS[out.itemsize]
    positive, mask = work
    sign, bits, result = y.reshape(-1), g.reshape(-1).view(word), out.reshape(-1)
    tiles = []
    for start in range(0, out.size, _TILE):
        cut = slice(start, min(start + _TILE, out.size))
        n = cut.stop - start
        c = positive[:n]
        tiles.append(
            (
                sign[cut],
                c,
                c.view(np.int8),
                mask[:n],
                bits[cut],
                result[cut].view(word),
            )
        )
    return tiles


def settle_positive(arrays: Any, out: Any, work: Any, attrs: Any) -> Any:
    """:func:`keep_positive` on arrays whose memory stays: the views made once."""
    y, g = arrays
    if not (y.flags.c_contiguous and g.flags.c_contiguous and work):
        return None
    tiles = _positive_tiles(y, g, out, work)
    word = _INTEGERS[out.itemsize]
    greater, negative, both = np.greater, np.negative, np.bitwise_and
    zero = np.zeros((), y.dtype)

    def run() -> None:
        for sign, positive, flags, mask, bits, result in tiles:
            greater(sign, zero, positive)
            negative(flags, mask, dtype=word)
            both(mask, bits, result)

    return run
