"""Matrix products: dagrad's native loops beside NumPy's, and PyTorch's.

GFlop/s of one call on one thread, into memory that is there already: the best of many
calls that take turns, by processor time.  PyTorch may live in another interpreter:

    python benchmarks/products.py [python-with-torch]
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402  (it reads the thread counts)

#: (rows, terms, columns, which operands are given transposed).
CASES = [
    (128, 784, 256, ""),
    (784, 128, 256, "a"),
    (128, 256, 784, "b"),
    (128, 256, 128, ""),
    (128, 128, 256, "b"),
    (32, 784, 256, ""),
    (64, 92, 256, ""),
    (92, 64, 256, "a"),
    (64, 256, 92, "b"),
    (512, 128, 128, ""),
    (512, 128, 512, ""),
    (512, 512, 128, ""),
    (128, 512, 512, "a"),
    (512, 512, 128, "b"),
    (1024, 256, 256, ""),
    (256, 1024, 256, "a"),
    (1024, 256, 256, "b"),
    (64, 512, 1024, ""),
    (6272, 800, 64, ""),
    (512, 512, 512, ""),
    (2048, 512, 512, ""),
    (1024, 1024, 1024, ""),
    (100, 100, 100, ""),
    (8, 16, 16, ""),
]
REPEATS, SECONDS = 15, 0.005


def best(calls: list[Callable[[], Any]]) -> list[float]:
    """The least seconds of each call, which take turns."""
    counts = []
    for call in calls:
        call()
        start = time.thread_time()
        call()
        once = max(time.thread_time() - start, 1e-6)
        counts.append(max(1, int(SECONDS / once)))
    least = [float("inf")] * len(calls)
    for _ in range(REPEATS):
        for i, (call, count) in enumerate(zip(calls, counts)):
            start = time.thread_time()
            for _ in range(count):
                call()
            least[i] = min(least[i], (time.thread_time() - start) / count)
    return least


def aligned(array: Any) -> Any:
    """The same where an arena would have it: at the beginning of a cache line."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    own = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    own[...] = array
    return own


def operands(case: Any) -> tuple[Any, Any]:
    m, k, n, turned = case
    rng = np.random.default_rng(0)
    a = rng.standard_normal((k, m) if "a" in turned else (m, k), np.float32)
    b = rng.standard_normal((n, k) if "b" in turned else (k, n), np.float32)
    return aligned(a), aligned(b)


def here() -> dict[str, tuple[float, float, bool]]:
    """Seconds of NumPy's calls and of the loops, and whether plans use these."""
    from dagrad.graphlib.products import Product
    from dagrad.ops._products import _pays
    from dagrad.runtime.native.product import ProductKernel, panel_elements
    from dagrad.runtime.native.worker import native
    from dagrad.runtime.native_products import given

    found = {}
    for case in CASES:
        (m, k, n, turned), (a, b) = case, operands(case)
        out = aligned(np.zeros((m, n), "f"))
        room = aligned(np.zeros(panel_elements(k, 4), "f"))
        how = given(Product(m, k, n, "a" in turned, "b" in turned, 1), (a, b, out), 4)
        assert how is not None
        item = native(ProductKernel("<f4", how.turned))
        item.wait()
        assert item.code is not None
        addresses = [x.ctypes.data for x in (a, b, out, room)]
        words = (ctypes.c_int64 * (4 + len(how.words)))(*addresses, *how.words)
        loops = partial(item.code.call, ctypes.addressof(words), 0, m)
        x, y = a.T if "a" in turned else a, b.T if "b" in turned else b
        numpy = partial(np.matmul, x, y, aligned(out))
        used = _pays((1, m, k, n), "a" in turned, "b" in turned, 4)
        found[str(case)] = (*best([numpy, loops]), used)
    return found


def torch_times() -> dict[str, float]:
    """Seconds of PyTorch's."""
    import torch

    torch.set_num_threads(1)
    found = {}
    for case in CASES:
        m, _, n, turned = case
        a, b = map(torch.from_numpy, operands(case))
        x, y = a.T if "a" in turned else a, b.T if "b" in turned else b
        (found[str(case)],) = best([partial(torch.mm, x, y, out=torch.empty(m, n))])
    return found


def main(python: str | None) -> None:
    peers: dict[str, float] = {}
    if python is not None:
        answer = subprocess.run(
            [python, __file__, "--torch"], check=True, capture_output=True, text=True
        )
        peers = json.loads(answer.stdout)
    print("| rows x terms x columns | transposed | NumPy | native | used | PyTorch |")
    print("|---|---|---|---|---|---|")
    for case, (numpy, loops, used) in zip(CASES, here().values()):
        m, k, n, turned = case
        flops = 2e-9 * m * k * n
        peer = f"{flops / peers[str(case)]:.0f}" if peers else ""
        rates = f"{flops / numpy:.0f} | {flops / loops:.0f}"
        yes = "yes" if used else "no"
        print(f"| {m}x{k}x{n} | {turned} | {rates} | {yes} | {peer} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["--torch"]:
        print(json.dumps(torch_times()))
    else:
        main(sys.argv[1] if len(sys.argv) > 1 else None)
