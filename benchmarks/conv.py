"""Convolutions and pools: dagrad's kernels beside PyTorch's and TensorFlow's.

Least milliseconds of processor time of one call on one thread, into memory that is
there already (the peers allocate their results): NumPy's kernels, and with the extra
``dagrad[jit]`` the native loops.  The peers may live in another interpreter:

    python benchmarks/conv.py [python-with-torch-and-tensorflow]
"""

from __future__ import annotations

import importlib.util
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
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402  (it reads the thread counts)

#: (images, size, channels, taps, filters, stride), NHWC, SAME.
CASES = [
    (32, 28, 1, 5, 32, 1),
    (32, 14, 32, 5, 64, 1),
    (16, 28, 64, 3, 64, 1),
    (16, 28, 64, 3, 128, 2),
    (16, 14, 256, 1, 64, 1),
    (8, 112, 3, 7, 64, 2),
]
#: (images, size, channels, window, stride).
POOLS = [(32, 28, 32, 2, 2), (32, 28, 32, 3, 2)]
REPEATS = 15

Times = dict[str, float]


def best(call: Callable[[], Any]) -> float:
    """The least milliseconds of a call."""
    call()
    least = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        least = min(least, time.process_time() - start)
    return least * 1e3


def label(case: Any, what: str) -> str:
    return f"{'x'.join(map(str, case))} {what}"


def arrays(case: Any) -> tuple[Any, Any, Any]:
    n, size, channels, taps, filters, stride = case
    rng = np.random.default_rng(0)
    out = -(-size // stride)
    shapes = [
        (n, size, size, channels),
        (taps, taps, channels, filters),
        (n, out, out, filters),
    ]
    x, w, g = (rng.random(s, np.float32) for s in shapes)
    return x, w, g


def dagrad(native: str = "off") -> Times:
    """Our kernels, as a plan calls them: results and scratch memory are given."""
    from dagrad.graphlib.gradients import gradients
    from dagrad.graphlib.graph import Graph
    from dagrad.ops.conv import conv2d
    from dagrad.ops.core import placeholder
    from dagrad.ops.pool import avg_pool, max_pool
    from dagrad.runtime.native_nests import bind_nest, nest_between, with_panel

    def ready(op: Any, values: Any) -> Callable[[], Any]:
        ins = [values.get(t, t.value) for t in op.inputs]
        nest = nest_between(op.opdef, op.attrs, op.inputs, op.outputs, native)
        specs = tuple(op.opdef.workspace(op.inputs, op.outputs, op.attrs))
        work = tuple(_aligned(*spec) for spec in with_panel(specs, nest))
        out = _aligned(np.float32, op.outputs[0].dims)
        kernel = partial(op.opdef.kernel, np, work=work, **op.attrs)
        numpy = partial(kernel, *ins, out=out)
        if nest is None:
            return numpy
        step = bind_nest(nest, numpy, [*ins, out], work, native, None)

        def call() -> Any:
            step(*ins, out)
            return out

        return call

    times: Times = {}
    for case in CASES:
        values = arrays(case)
        with Graph().as_default():
            x, w, g = (placeholder("float32", a.shape) for a in values)
            y = conv2d(x, w, case[-1], "SAME")
            dx, dw = gradients(y, [x, w], g)
        feeds = dict(zip((x, w, g), values))
        for what, t in (("forward", y), ("to input", dx), ("to filter", dw)):
            times[label(case, what)] = best(ready(t.op, feeds))
    for case in POOLS:
        n, size, channels, window, stride = case
        image = np.random.default_rng(0).random((n, size, size, channels), np.float32)
        for kind, build in (("max", max_pool), ("avg", avg_pool)):
            with Graph().as_default():
                x = placeholder("float32", image.shape)
                y = build(x, window, stride, "VALID")
                g = placeholder("float32", y.dims)
                (dx,) = gradients(y, x, g)
            feeds = {x: image}
            feeds[y] = np.array(ready(y.op, feeds)())
            feeds[g] = feeds[y]
            times[label(case, kind)] = best(ready(y.op, feeds))
            times[label(case, f"{kind} gradient")] = best(ready(dx.op, feeds))
    return times


def _aligned(dtype: Any, dims: Any) -> Any:
    """An array where an arena would place it: at the beginning of a cache line."""
    size = int(np.prod(dims)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(dims)


def torch_times() -> Times:
    """PyTorch, with its channels-last layout."""
    import torch

    torch.set_num_threads(1)
    backward = torch.ops.aten.convolution_backward
    times: Times = {}

    def last(array: Any, order: Any) -> Any:
        t = torch.from_numpy(np.ascontiguousarray(array.transpose(order)))
        return t.to(memory_format=torch.channels_last)

    for case in CASES:
        x, w, g = arrays(case)
        stride, pad = case[-1], case[3] // 2
        tx, tw, tg = last(x, (0, 3, 1, 2)), last(w, (3, 2, 0, 1)), last(g, (0, 3, 1, 2))

        how = ((stride, stride), (pad, pad), (1, 1), False, (0, 0), 1)
        calls = {
            "forward": partial(torch.conv2d, tx, tw, stride=stride, padding=pad),
            "to input": partial(backward, tg, tx, tw, None, *how, (True, False, False)),
            "to filter": partial(
                backward, tg, tx, tw, None, *how, (False, True, False)
            ),
        }
        for what, call in calls.items():
            times[label(case, what)] = best(call)
    functional = torch.nn.functional
    for case in POOLS:
        n, size, channels, window, stride = case
        x = last(np.random.rand(n, channels, size, size).astype("f"), (0, 1, 2, 3))
        x.requires_grad_()
        for kind, f in (("max", functional.max_pool2d), ("avg", functional.avg_pool2d)):
            y = f(x, window, stride)
            g = torch.ones_like(y)
            pull = partial(torch.autograd.grad, y, x, g, retain_graph=True)
            times[label(case, kind)] = best(partial(f, x.detach(), window, stride))
            times[label(case, f"{kind} gradient")] = best(pull)
    return times


def tensorflow_times() -> Times:
    """TensorFlow, its raw ops called eagerly."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    raw = tf.raw_ops
    times: Times = {}
    for case in CASES:
        x, w, g = map(tf.constant, arrays(case))
        how = {"strides": [1, case[-1], case[-1], 1], "padding": "SAME"}
        calls = {
            "forward": partial(raw.Conv2D, input=x, filter=w, **how),
            "to input": partial(
                raw.Conv2DBackpropInput,
                input_sizes=x.shape,
                filter=w,
                out_backprop=g,
                **how,
            ),
            "to filter": partial(
                raw.Conv2DBackpropFilter,
                input=x,
                filter_sizes=w.shape,
                out_backprop=g,
                **how,
            ),
        }
        for what, call in calls.items():
            times[label(case, what)] = best(call)
    for case in POOLS:
        n, size, channels, window, stride = case
        x = tf.random.uniform((n, size, size, channels))
        how = {
            "ksize": [1, window, window, 1],
            "strides": [1, stride, stride, 1],
            "padding": "VALID",
        }
        y = raw.MaxPool(input=x, **how)
        calls = {
            "max": partial(raw.MaxPool, input=x, **how),
            "max gradient": partial(
                raw.MaxPoolGrad, orig_input=x, orig_output=y, grad=y, **how
            ),
            "avg": partial(raw.AvgPool, value=x, **how),
            "avg gradient": partial(
                raw.AvgPoolGrad, orig_input_shape=x.shape, grad=y, **how
            ),
        }
        for what, call in calls.items():
            times[label(case, what)] = best(call)
    return times


LIBRARIES: dict[str, Callable[[], Times]] = {
    "dagrad": dagrad,
    "dagrad[jit]": partial(dagrad, "wait"),
    "torch": torch_times,
    "tensorflow": tensorflow_times,
}


def measured(library: str, python: str) -> Times:
    """A library's times, in a process of its own; nothing where it is missing."""
    command = [python, __file__, "--only", library]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{library}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return {}
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def main() -> None:
    """Print a table: milliseconds, and ours over each peer's."""
    if sys.argv[1:2] == ["--only"]:
        library = sys.argv[2]
        module = {"dagrad[jit]": "llvmlite"}.get(library, library)
        if importlib.util.find_spec(module) is None:
            sys.exit(f"{module} is not installed")
        print(json.dumps(LIBRARIES[library]()))
        return
    peers = sys.argv[1] if len(sys.argv) > 1 else sys.executable
    ours = measured("dagrad", sys.executable)
    native = measured("dagrad[jit]", sys.executable)
    others = {name: measured(name, peers) for name in ("torch", "tensorflow")}
    heads = "".join(f"{name:>12}{'ratio':>7}{'[jit]':>7}" for name in others)
    print(f"{'one thread, ms':32}{'dagrad':>9}{'[jit]':>9}{heads}")
    for what, mine in ours.items():
        best = native.get(what, mine)
        line = f"{what:32}{mine:9.2f}{best:9.2f}"
        for times in others.values():
            peer = times.get(what)
            shown = (peer, mine / peer, best / peer) if peer else None
            line += "{:12.2f}{:7.2f}{:7.2f}".format(*shown) if shown else f"{'-':>26}"
        print(line)


if __name__ == "__main__":
    main()
