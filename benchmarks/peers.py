"""The models of models.py on dagrad and on its peers.

Each peer gives ``gradients(model)``, a call that returns the loss and the
gradients, ``training(model, optimizer)``, a call that makes one step of "sgd"
(rate 0.01) or "adam" (rate 0.001) and returns the loss before it,
``value(model)``, a call that returns what the model's loss is, and
``products(model)``, a call that returns the Hessian times ``direction(model)``.
TensorFlow is TF1: ``tensorflow.compat.v1``, graphs and sessions.
"""

from __future__ import annotations

from _common import THREADS, Run, installed  # before NumPy: thread counts

# isort: split

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from models import Model

RATES = {"sgd": 0.01, "adam": 0.001}


class Peer(NamedTuple):
    """One library."""

    module: str
    gradients: Callable[[Model], Run]
    training: Callable[[Model, str], Run]
    value: Callable[[Model], Run]
    products: Callable[[Model], Run]


def direction(model: Model) -> list[Any]:
    """What the Hessian is multiplied by: an array for each parameter."""
    rng = np.random.default_rng(5)
    return [rng.standard_normal(p.shape).astype(p.dtype) for p in model.params]


# -- dagrad and TensorFlow 1: the same programs ----------------------------------


def graph_ops(tf: Any) -> Any:
    """TF1's functions under the names that the models use."""

    def cross_entropy(logits: Any, labels: Any) -> Any:
        return tf.reduce_mean(
            tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)
        )

    def fold(cell: Any, xs: Any, state: Any) -> Any:
        steps = int(xs.shape[0])
        return tf.while_loop(
            lambda i, *_: i < steps,
            lambda i, *s: (i + 1, *cell(s, xs[i])),
            [tf.constant(0), *state],
        )[1:]

    return SimpleNamespace(
        relu=tf.nn.relu,
        sigmoid=tf.sigmoid,
        tanh=tf.tanh,
        exp=tf.exp,
        fold=fold,
        softmax=tf.nn.softmax,
        cross_entropy=cross_entropy,
        concat=tf.concat,
        split4=lambda v: tf.split(v, 4, 1),
        reshape=tf.reshape,
        transpose=tf.transpose,
        mean=lambda v: tf.reduce_mean(v, -1, keepdims=True),
        sum=tf.reduce_sum,
        rsqrt=tf.rsqrt,
        constant=tf.constant,
        conv=lambda x, w: tf.nn.conv2d(x, w, strides=[1, 1, 1, 1], padding="SAME"),
        pool=lambda x: tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"),
        bias=tf.nn.bias_add,
    )


def graph_of(tf: Any, model: Model, what: str = "") -> tuple[Any, Any, Any]:
    """(session, fetches, placeholders), the variables initialised.

    ``what``: "sgd" or "adam", "value", "products", or "" for loss and gradients.
    """
    graph = tf.Graph()
    with graph.as_default():
        inputs = [tf.placeholder(a.dtype, a.shape) for a in model.inputs]
        params = [tf.Variable(p) for p in model.params]
        loss = model.loss(graph_ops(tf), params, *inputs)
        if what == "sgd":
            step = tf.train.GradientDescentOptimizer(RATES["sgd"]).minimize(loss)
            fetches = [loss, step]
        elif what == "adam":
            fetches = [loss, tf.train.AdamOptimizer(RATES["adam"]).minimize(loss)]
        elif what == "value":
            fetches = loss
        elif what == "products" and tf.__name__ == "dagrad":
            vectors = [tf.constant(v) for v in direction(model)]
            fetches = tf.hessian_vector_product(loss, params, vectors)
        elif what == "products":
            pairs = zip(tf.gradients(loss, params), direction(model))
            along = tf.add_n([tf.reduce_sum(g * v) for g, v in pairs])
            fetches = tf.gradients(along, params)
        else:
            fetches = [loss, *tf.gradients(loss, params)]
        # dagrad has one thread unless it is asked; asked for one, it cuts products.
        asked = 0 if tf.__name__ == "dagrad" and THREADS == 1 else THREADS
        config = tf.ConfigProto(
            intra_op_parallelism_threads=asked, inter_op_parallelism_threads=asked
        )
        session = tf.Session(config=config)
        session.run(tf.global_variables_initializer())
    return session, fetches, inputs


def graph_call(tf: Any, model: Model, what: str = "") -> Run:
    """Through ``make_callable``."""
    session, fetches, inputs = graph_of(tf, model, what)
    run = session.make_callable(fetches, inputs)
    return lambda: run(*model.inputs)


def graph_training(tf: Any, model: Model, optimizer: str) -> Run:
    """One step, through ``make_callable``."""
    run = graph_call(tf, model, optimizer)
    return lambda: run()[0]


def graph_peer(tf: Any, module: str) -> Peer:
    """A library with TensorFlow 1's functions."""
    return Peer(
        module,
        lambda model: graph_call(tf, model),
        lambda model, optimizer: graph_training(tf, model, optimizer),
        lambda model: graph_call(tf, model, "value"),
        lambda model: graph_call(tf, model, "products"),
    )


def dagrad() -> Peer:
    import dagrad as tf

    return graph_peer(tf, "dagrad")


def tensorflow() -> Peer:
    import tensorflow.compat.v1 as tf

    tf.disable_eager_execution()
    tf.logging.set_verbosity("ERROR")
    return graph_peer(tf, "tensorflow")


# -- libraries with NumPy's functions: JAX, autograd, PyTensor --------------------


def array_ops(xp: Any, **own: Any) -> Any:
    """NumPy's functions under the names that the models use."""

    def softmax(v: Any) -> Any:
        e = xp.exp(v - xp.max(v, axis=-1, keepdims=True))
        return e / xp.sum(e, axis=-1, keepdims=True)

    def cross_entropy(logits: Any, labels: Any) -> Any:
        z = logits - xp.max(logits, axis=-1, keepdims=True)
        total = xp.log(xp.sum(xp.exp(z), axis=-1, keepdims=True))
        return xp.mean(xp.sum(labels * (total - z), axis=-1))

    ops = {
        "relu": lambda v: xp.maximum(v, 0),
        "sigmoid": lambda v: 1 / (1 + xp.exp(-v)),
        "tanh": xp.tanh,
        "exp": xp.exp,
        "softmax": softmax,
        "cross_entropy": cross_entropy,
        "concat": xp.concatenate,
        "split4": lambda v: [v[:, k * 64 : (k + 1) * 64] for k in range(4)],
        "reshape": lambda v, shape: v.reshape(shape),
        "transpose": lambda v, axes: v.transpose(axes),
        "mean": lambda v: xp.mean(v, axis=-1, keepdims=True),
        "sum": xp.sum,
        "rsqrt": lambda v: 1 / xp.sqrt(v),
        "constant": lambda a: a,
    }
    return SimpleNamespace(**{**ops, **own})


def jax() -> Peer:
    import jax
    import jax.numpy as jnp

    ops = array_ops(
        jnp,
        relu=jax.nn.relu,
        sigmoid=jax.nn.sigmoid,
        softmax=jax.nn.softmax,
        rsqrt=jax.lax.rsqrt,
        conv=lambda x, w: jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        ),
        pool=lambda x: jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME"
        ),
        bias=jnp.add,
        fold=lambda cell, xs, state: jax.lax.scan(
            lambda s, x: (cell(s, x), None), state, xs
        )[0],
    )

    def graded(model: Model) -> Any:
        return jax.value_and_grad(lambda p, *i: model.loss(ops, p, *i))

    def gradients(model: Model) -> Run:
        step = jax.jit(graded(model))
        params = [jnp.asarray(p) for p in model.params]

        def run() -> Any:
            loss, grads = step(params, *model.inputs)
            return [np.asarray(a) for a in (loss, *grads)]

        return run

    def training(model: Model, optimizer: str) -> Run:
        def step(state: Any, *inputs: Any) -> Any:
            params, m, v, t = state
            loss, grads = graded(model)(params, *inputs)
            params, m, v, t = update(jnp, optimizer, params, grads, m, v, t)
            return loss, (params, m, v, t)

        compiled = jax.jit(step, donate_argnums=0)
        params = [jnp.array(p) for p in model.params]
        zeros = [[jnp.zeros_like(p) for p in params] for _ in range(2)]
        box = [(params, *zeros, jnp.float32(0))]

        def run() -> Any:
            loss, box[0] = compiled(box[0], *model.inputs)
            jax.block_until_ready(box[0])
            return np.asarray(loss)

        return run

    def value(model: Model) -> Run:
        compiled = jax.jit(lambda p, *i: model.loss(ops, p, *i))
        params = [jnp.asarray(p) for p in model.params]
        return lambda: np.asarray(compiled(params, *model.inputs))

    def products(model: Model) -> Run:
        def along(params: Any, vectors: Any, *inputs: Any) -> Any:
            slope = jax.grad(lambda p: model.loss(ops, p, *inputs))
            return jax.jvp(slope, (params,), (vectors,))[1]

        compiled = jax.jit(along)
        params = [jnp.asarray(p) for p in model.params]
        vectors = [jnp.asarray(v) for v in direction(model)]
        return lambda: [np.asarray(a) for a in compiled(params, vectors, *model.inputs)]

    return Peer("jax", gradients, training, value, products)


def update(
    xp: Any, optimizer: str, params: Any, grads: Any, m: Any, v: Any, t: Any
) -> Any:
    """SGD, or Adam as TensorFlow 1 has it, in plain expressions."""
    if optimizer == "sgd":
        return [p - RATES["sgd"] * g for p, g in zip(params, grads)], m, v, t
    t = t + 1
    rate = RATES["adam"] * xp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    if isinstance(rate, np.floating):
        rate = float(rate)  # a float64 scalar would make the parameters float64
    m = [0.9 * a + 0.1 * g for a, g in zip(m, grads)]
    v = [0.999 * a + 0.001 * (g * g) for a, g in zip(v, grads)]
    params = [p - rate * a / (xp.sqrt(b) + 1e-8) for p, a, b in zip(params, m, v)]
    return params, m, v, t


def autograd() -> Peer:
    import autograd.numpy as anp
    from autograd import grad, value_and_grad

    ops = array_ops(anp)

    def graded(model: Model) -> Any:
        return value_and_grad(lambda p, *i: model.loss(ops, p, *i))

    def gradients(model: Model) -> Run:
        step = graded(model)

        def run() -> Any:
            loss, grads = step(model.params, *model.inputs)
            return [loss, *grads]

        return run

    def training(model: Model, optimizer: str) -> Run:
        step = graded(model)
        zeros = [[np.zeros_like(p) for p in model.params] for _ in range(2)]
        box = [(model.params, *zeros, 0)]

        def run() -> Any:
            params, *rest = box[0]
            loss, grads = step(params, *model.inputs)
            box[0] = update(np, optimizer, params, grads, *rest)
            return loss

        return run

    def value(model: Model) -> Run:
        return lambda: model.loss(ops, model.params, *model.inputs)

    def products(model: Model) -> Run:
        slope = grad(lambda p: model.loss(ops, p, *model.inputs))
        vectors = direction(model)
        # Its own hessian_vector_product takes one array.
        along = grad(lambda p: sum(anp.sum(g * v) for g, v in zip(slope(p), vectors)))
        return lambda: along(model.params)

    return Peer("autograd", gradients, training, value, products)


def pytensor() -> Peer:
    import pytensor
    import pytensor.tensor as pt

    pytensor.config.floatX = "float32"

    def fold(cell: Any, xs: Any, state: Any) -> Any:
        states = pytensor.scan(
            lambda x, *s: list(cell(s, x)),
            sequences=[xs],
            outputs_info=list(state),
            return_updates=False,
        )
        return [s[-1] for s in states]

    ops = array_ops(
        pt,
        sigmoid=pt.sigmoid,
        softmax=lambda v: pt.special.softmax(v, axis=-1),
        sum=lambda v, axis=None, keepdims=False: pt.sum(v, axis, keepdims=keepdims),
        concat=lambda parts, axis: pt.concatenate(parts, axis=axis),
        constant=pt.constant,
        fold=fold,
    )

    def traced(model: Model) -> Any:
        inputs = [pt.tensor(dtype=str(a.dtype), shape=a.shape) for a in model.inputs]
        params = [pytensor.shared(p.copy()) for p in model.params]
        loss = model.loss(ops, params, *inputs)
        return inputs, params, loss, pytensor.grad(loss, params)

    def gradients(model: Model) -> Run:
        inputs, _, loss, grads = traced(model)
        run = pytensor.function(inputs, [loss, *grads], trust_input=True)
        return lambda: run(*model.inputs)

    def training(model: Model, optimizer: str) -> Run:
        inputs, params, loss, grads = traced(model)
        f32 = np.float32
        if optimizer == "sgd":
            updates = [(p, p - f32(RATES["sgd"]) * g) for p, g in zip(params, grads)]
        else:
            t = pytensor.shared(f32(0))
            rate = f32(RATES["adam"]) * pt.sqrt(1 - f32(0.999) ** (t + f32(1)))
            rate = rate / (1 - f32(0.9) ** (t + f32(1)))
            updates = [(t, t + f32(1))]
            for p, g in zip(params, grads):
                m, v = (pytensor.shared(np.zeros_like(p.get_value())) for _ in "mv")
                m2 = f32(0.9) * m + f32(0.1) * g
                v2 = f32(0.999) * v + f32(0.001) * g * g
                new = p - rate * m2 / (pt.sqrt(v2) + f32(1e-8))
                updates += [(m, m2), (v, v2), (p, new)]
        run = pytensor.function(inputs, loss, updates=updates, trust_input=True)
        return lambda: run(*model.inputs)

    def value(model: Model) -> Run:
        inputs = [pt.tensor(dtype=str(a.dtype), shape=a.shape) for a in model.inputs]
        params = [pytensor.shared(p.copy()) for p in model.params]
        result = model.loss(ops, params, *inputs)
        run = pytensor.function(inputs, result, trust_input=True)
        return lambda: run(*model.inputs)

    def products(model: Model) -> Run:
        inputs, params, _, grads = traced(model)
        pairs = zip(grads, direction(model))
        along = pytensor.grad(sum(pt.sum(g * pt.constant(v)) for g, v in pairs), params)
        run = pytensor.function(inputs, along, trust_input=True)
        return lambda: run(*model.inputs)

    return Peer("pytensor", gradients, training, value, products)


# -- PyTorch ---------------------------------------------------------------------


def torch() -> Peer:
    import torch as th
    from torch.nn import functional

    th.set_num_threads(THREADS)

    # Images stay in memory with channels last; PyTorch sees the axes in its order.
    def first(x: Any) -> Any:
        return x.permute(0, 3, 1, 2)

    def last(x: Any) -> Any:
        return x.permute(0, 2, 3, 1)

    def filters(w: Any) -> Any:
        return w.permute(3, 2, 0, 1)

    ops = SimpleNamespace(
        relu=th.relu,
        sigmoid=th.sigmoid,
        tanh=th.tanh,
        exp=th.exp,
        softmax=lambda v: th.softmax(v, -1),
        cross_entropy=functional.cross_entropy,
        concat=th.cat,
        split4=lambda v: th.chunk(v, 4, 1),
        reshape=th.reshape,
        transpose=lambda v, axes: v.permute(axes),
        mean=lambda v: v.mean(-1, keepdim=True),
        sum=th.sum,
        rsqrt=th.rsqrt,
        constant=th.from_numpy,
        conv=lambda x, w: last(functional.conv2d(first(x), filters(w), padding="same")),
        pool=lambda x: last(functional.max_pool2d(first(x), 2)),
        bias=th.add,
    )

    def tensors(model: Model) -> Any:
        params = [th.tensor(p, requires_grad=True) for p in model.params]
        return params, [th.from_numpy(a) for a in model.inputs]

    def gradients(model: Model) -> Run:
        params, inputs = tensors(model)

        def run() -> Any:
            loss = model.loss(ops, params, *inputs)
            grads = th.autograd.grad(loss, params)
            return [a.detach().numpy() for a in (loss, *grads)]

        return run

    def training(model: Model, optimizer: str) -> Run:
        params, inputs = tensors(model)
        kind = th.optim.SGD if optimizer == "sgd" else th.optim.Adam
        update = kind(params, lr=RATES[optimizer])

        def run() -> Any:
            update.zero_grad()
            loss = model.loss(ops, params, *inputs)
            loss.backward()
            update.step()
            return loss.detach().numpy()

        return run

    def value(model: Model) -> Run:
        params, inputs = tensors(model)

        def run() -> Any:
            with th.inference_mode():
                return model.loss(ops, params, *inputs).numpy()

        return run

    def products(model: Model) -> Run:
        params, inputs = tensors(model)
        vectors = [th.from_numpy(v) for v in direction(model)]

        def run() -> Any:
            loss = model.loss(ops, params, *inputs)
            grads = th.autograd.grad(loss, params, create_graph=True)
            return [a.numpy() for a in th.autograd.grad(grads, params, vectors)]

        return run

    return Peer("torch", gradients, training, value, products)


PEERS: dict[str, Callable[[], Peer]] = {
    "dagrad": dagrad,
    "tensorflow": tensorflow,
    "jax": jax,
    "torch": torch,
    "pytensor": pytensor,
    "autograd": autograd,
}


def available(wanted: list[str]) -> list[Peer]:
    """The peers of ``wanted`` (all where empty) that are installed."""
    return [make() for name, make in PEERS.items() if chosen(name, wanted)]


def chosen(name: str, wanted: list[str]) -> bool:
    """Whether to measure ``name``: dagrad always."""
    if name == "dagrad":
        return True
    return (not wanted or name in wanted) and installed(name)
