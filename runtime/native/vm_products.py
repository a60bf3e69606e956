"""Native matrix products as calls of the machine, in the place of NumPy's loop.

The machine's loops take ``(args, sizes, strides, data)``, native code takes words.  A
small function in between puts the addresses of a call before the words that its last
argument points to.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...graphlib.products import Product
from ...graphlib.windows import Nest
from ..native_products import Given, given, panels_bytes
from .product import ProductKernel
from .vm import compiled
from .vm_calls import Call, Operand, Template
from .worker import native

__all__ = ["pending", "product_template"]

#: Addresses of a, b, the result and room for a panel; then the words of :class:`Given`.
_HEAD, _REST = 4, 16
_SOURCE = """
define void @loop(ptr %args, ptr %sizes, ptr %strides, ptr %data) {{
entry:
  %words = alloca [{count} x i64]
  call void @llvm.memcpy.p0.p0.i64(ptr %words, ptr %args, i64 {head}, i1 false)
  %given.at = getelementptr i64, ptr %args, i64 {addresses}
  %given = load ptr, ptr %given.at
  %stop = load i64, ptr %given
  %from = getelementptr i64, ptr %given, i64 1
  %to = getelementptr i64, ptr %words, i64 {addresses}
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 {rest}, i1 false)
  %code = inttoptr i64 {code} to ptr
  call void %code(ptr %words, i64 0, i64 %stop)
  ret void
}}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""

_lock = threading.Lock()
#: By the address of native code: the code, which has to stay, and what is in between.
_loops: dict[int, tuple[Any, int]] = {}


def _given(nest: Nest, operands: Sequence[Operand]) -> Given | None:
    product = nest.parts[0]
    if not isinstance(product, Product):
        return None
    return given(product, operands[:3], np.dtype(nest.dtype).itemsize)


def pending(nest: Nest, operands: Sequence[Operand]) -> bool:
    """Whether the code of a product has been asked for, and is not there yet."""
    found = _given(nest, operands)
    if found is None:
        return False
    item = native(ProductKernel(nest.dtype, found.turned))
    return item.queued and item.code is None and not item.failed


def product_template(
    nest: Nest, operands: Sequence[Operand], wait: bool
) -> Template | None:
    """The call of a product's code, the same as Python's; None where that makes it.

    Args:
        nest: what is computed.
        operands: a, b, the result, and the step's scratch memory.
        wait: compile the code now if it is not there.
    """
    found = _given(nest, operands)
    if found is None:
        return None
    item = native(ProductKernel(nest.dtype, found.turned))
    if wait and not item.failed:
        item.wait()
    code = item.code
    if code is None:
        return None
    room = 2  # any address will do where nothing is copied
    if found.copies:
        need = panels_bytes(nest, False)
        rooms = [i for i, o in enumerate(operands[3:], 3) if 0 < need <= o.high - o.low]
        if not rooms:
            return None
        room = rooms[0]
    with _lock:
        if code.address not in _loops:
            _loops[code.address] = code, _between(code.address)
        loop = _loops[code.address][1]
    words = np.array([found.units, *found.words], np.int64)
    regions = ((0, 0), (1, 0), (2, 0), (room, 0), (len(operands), 0))
    call = Call((loop, 0), regions, (1,), (0,) * len(regions), ())
    return Template([call], [words], nest.flops // 16)


def _between(code: int) -> int:
    """The function between the machine and native code."""
    source = _SOURCE.format(
        count=_HEAD + _REST,
        addresses=_HEAD,
        head=8 * _HEAD,
        rest=8 * _REST,
        code=code,
    )
    return compiled(source, "loop")
