"""Plans: what is alive when, where it lies, and what a run really allocates."""

from __future__ import annotations

import gc
import itertools
import tracemalloc

import numpy as np
import pytest
from allocated import traced_peak

import dagrad as dg
from dagrad.runtime.plan import ARENA, CALL, CONST, FETCH, VARIABLE, VIEW

pytestmark = pytest.mark.usefixtures("graph")


def mlp(batch=256, widths=(100, 200, 150, 1)):
    """A training step of a small network: (fetches, feeds)."""
    rng = np.random.default_rng(0)
    x = dg.placeholder(dg.float32, [batch, widths[0]])
    weights, h = [], x
    for n, m in itertools.pairwise(widths):
        w = dg.Variable(rng.normal(size=(n, m)).astype(np.float32))
        b = dg.Variable(np.zeros(m, np.float32))
        weights += [w, b]
        h = dg.tanh(dg.matmul(h, w) + b)
    loss = dg.reduce_mean(dg.square(h))
    grads = dg.gradients(loss, weights)
    step = [w.assign_sub(0.1 * g) for w, g in zip(weights, grads, strict=True)]
    return [loss, dg.group(*step)], {x: rng.normal(size=(batch, widths[0]))}


def views():
    x = dg.placeholder(dg.float32, [300, 200])
    y = dg.transpose(x * 2.0)
    z = dg.reshape(y, [100, 600])[::-1] + dg.reshape(y, [100, 600])
    return [z, dg.reduce_sum(z, 0), dg.transpose(z)], {x: np.ones((300, 200))}


def fan():
    x = dg.placeholder(dg.float32, [256, 256])
    parts = [dg.sin(x + float(i)) for i in range(8)]
    return dg.matmul(dg.add_n(parts), parts[0]), {x: np.ones((256, 256))}


def late_result():
    x = dg.placeholder(dg.float32, [500, 500])
    total = dg.reduce_sum(dg.exp(x) * dg.cos(x))
    return dg.fill([400, 400], total), {x: np.ones((500, 500))}


def backwards():
    x = dg.placeholder(dg.float32, [200, 200])
    y = x
    for _ in range(10):
        y = dg.tanh(dg.matmul(y, x))
    return dg.gradients(dg.reduce_sum(y), x), {x: np.full((200, 200), 0.01)}


def joins():
    x = dg.placeholder(dg.float32, [100, 300])
    parts = [dg.sin(x * float(i)) for i in range(6)]
    inner = dg.concat([dg.tanh(p) for p in parts], 0)
    outer = dg.stack([dg.exp(p) for p in parts])
    return [outer, dg.reduce_sum(dg.cos(inner), 1)], {x: np.ones((100, 300))}


PROGRAMS = [mlp, views, fan, late_result, backwards, joins]


def as_arrays(feeds):
    return {t: np.asarray(v, t.dtype.as_numpy_dtype) for t, v in feeds.items()}


def started(program):
    fetches, feeds = program()
    session = dg.Session()
    session.run(dg.global_variables_initializer())
    return session, fetches, as_arrays(feeds)


# -- predicted and real memory ----------------------------------


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_the_predicted_peak_is_what_a_first_run_allocates(program):
    session, fetches, feeds = started(program)
    plan = session.plan(fetches, feeds)
    assert plan.exact
    peak = traced_peak(lambda: session.run(fetches, feeds))
    assert abs(peak - plan.peak_bytes) <= 0.02 * plan.peak_bytes + 64 * 1024


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_a_steady_run_allocates_no_arrays_but_its_results(program):
    session, fetches, feeds = started(program)
    plan = session.plan(fetches, feeds)
    for _ in range(3):
        session.run(fetches, feeds)
    peak = traced_peak(lambda: session.run(fetches, feeds))
    # Small objects, and the buffer of 8192 elements in which a ufunc broadcasts.
    assert peak <= plan.fetch_bytes + 4096 + 8192 * 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])  # one chunk, and tiles
@pytest.mark.parametrize("name", ["erf", "erfc", "lgamma", "digamma", "gelu"])
def test_what_kernels_allocate_for_themselves_is_predicted(name, dtype):
    x = dg.placeholder(dtype, [512, 256])
    y = dg.nn.gelu(x) if name == "gelu" else getattr(dg, name)(x)
    # The formulas are several, and masks choose among them.
    values = np.random.default_rng(0).standard_normal((512, 256)) * 30
    feeds = {x: values.astype(dtype)}
    assert dg.Session().plan(y, feeds).transient_bytes > 0
    for fetches in (y, dg.gradients(y, x)):
        plan = dg.Session().plan(fetches, feeds)
        first = traced_first_run(fetches, feeds)
        assert first <= 1.02 * plan.peak_bytes + 64 * 1024
        assert first >= 0.98 * plan.peak_bytes - 4 * 64 * 1024


def test_rows_that_are_added_up_are_predicted():
    table = dg.placeholder(dg.float32, [2000, 64])
    ids = dg.placeholder(dg.int32, [1500])
    (g,) = dg.gradients(dg.reduce_sum(dg.square(dg.gather(table, ids))), table)
    rng = np.random.default_rng(0)
    feeds = {
        table: np.zeros((2000, 64), np.float32),
        ids: rng.integers(0, 2000, 1500).astype(np.int32),
    }
    plan = dg.Session().plan(g, feeds)
    first = traced_first_run(g, feeds)
    assert abs(first - plan.peak_bytes) <= 0.02 * plan.peak_bytes + 64 * 1024


def traced_first_run(fetches, feeds):
    """Bytes that the first run of a plan that is ready allocates at most."""
    dg.Session().run(fetches, feeds)  # loads the modules that it needs
    session = dg.Session()
    runner = session._runner(fetches, feeds)
    arrays = runner.convert(feeds.values())
    executable = runner.executable(arrays)
    return traced_peak(lambda: executable(arrays))


def test_a_callable_allocates_no_arrays_but_its_results():
    session, fetches, feeds = started(backwards)
    call = session.make_callable(fetches, list(feeds))
    arrays = list(feeds.values())
    for _ in range(3):
        call(*arrays)
    assert traced_peak(lambda: call(*arrays)) <= 200 * 200 * 4 + 8192


def test_memory_is_flat_over_thousands_of_runs():
    session, fetches, feeds = started(lambda: mlp(8, (10, 8, 1)))
    for _ in range(50):  # until it has a function of its own (see runtime/direct.py)
        session.run(fetches, feeds)
    gc.collect()
    tracemalloc.start()
    grown = []
    try:
        session.run(fetches, feeds)
        for _ in range(2):
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(2000):
                session.run(fetches, feeds)
            gc.collect()
            grown.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    # In one of them Python's table of names may have doubled, whoever filled it.
    assert min(grown) < 16 * 1024


def test_dropped_sessions_give_their_memory_back():
    fetches, feeds = mlp()
    feeds, init = as_arrays(feeds), dg.global_variables_initializer()

    def use():
        with dg.Session() as session:
            session.run(init)
            session.run(fetches, feeds)

    use()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            use()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 64 * 1024


def test_ever_new_feed_shapes_keep_a_bounded_number_of_plans():
    x = dg.placeholder(dg.float32, [None, 50])
    y = dg.reduce_sum(dg.exp(x), 1)
    session = dg.Session()
    sizes = []
    tracemalloc.start()
    try:
        for n in range(1, 600):
            session.run(y, {x: np.zeros((50 + n % 200, 50), np.float32)})
            if n in (400, 599):  # the arena has reached its final size by then
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert abs(sizes[1] - sizes[0]) < 0.2 * sizes[0]


# -- liveness ---------------------------------------------------


def plan_of(fetches, feeds=None):
    feeds = feeds or {}
    return dg.Session().plan(fetches, dict.fromkeys(feeds))


def slot_of(plan, tensor):
    (slot,) = [s for s in plan.slots if s.tensor is tensor]
    return slot


def test_no_two_live_buffers_overlap():
    for program in PROGRAMS:
        fetches, feeds = program()
        plan = plan_of(fetches, feeds)
        placed = [
            s for s in plan.slots if s.kind == ARENA and s.nbytes and s.first >= 0
        ]
        assert placed
        for i, a in enumerate(placed):
            assert a.offset % 64 == 0
            assert a.offset + a.nbytes <= plan.arena_bytes
            for b in placed[:i]:
                if a.group == b.group:
                    continue
                together = a.first <= b.last and b.first <= a.last
                apart = (
                    a.offset >= b.offset + b.nbytes or b.offset >= a.offset + a.nbytes
                )
                assert apart or not together, (a, b)


def test_a_chain_of_elementwise_ops_runs_in_one_buffer():
    x = dg.placeholder(dg.float32, [1000])
    y = x
    for _ in range(20):
        y = dg.sin(y)
    plan = plan_of(dg.reduce_sum(y), [x])
    assert plan.arena_bytes <= 4000 + 2 * 64
    assert len([s for s in plan.steps if s.takes_over]) == 19


def test_forward_mode_takes_the_memory_of_a_step_and_reverse_mode_of_a_chain():
    """Tangents go along with the values; operands wait for their adjoints."""

    def peaks(length):
        x, t = (dg.placeholder(dg.float64, [1024]) for _ in range(2))
        y = x
        for _ in range(length):
            y = dg.sin(y)
        feeds = {x: np.ones(1024), t: np.ones(1024)}
        with dg.Session() as session:
            fetches = dg.jvp([y], [x], [t]), dg.gradients(y, [x])
            return [session.plan(f, feeds).peak_bytes // 8192 for f in fetches]

    assert [peaks(n) for n in (10, 100, 1000)] == [[4, 10], [4, 100], [4, 1000]]


def test_checkpoints_keep_the_square_root_of_a_chain():
    def arrays(length):
        x = dg.placeholder(dg.float64, [1024])
        y = dg.foldl(
            lambda a, _: dg.sin(a),
            dg.zeros([length]),
            x,
            checkpoint_every=int(length**0.5),
        )
        with dg.Session() as session:
            plan = session.plan(dg.gradients(y, [x]), {x: np.ones(1024)})
        return plan.peak_bytes / 8192

    assert arrays(100) < 2 * 10 + 10
    assert arrays(900) < 2 * 30 + 10


def test_a_value_that_is_read_again_is_not_overwritten():
    x = dg.placeholder(dg.float32, [1000])
    y = dg.sin(x)
    z = dg.cos(y)
    plan = plan_of(dg.reduce_sum(y * z), [x])
    assert slot_of(plan, y).offset != slot_of(plan, z).offset


def test_memory_is_used_again_after_the_last_reader():
    x = dg.placeholder(dg.float32, [100, 100])
    y = x
    for _ in range(12):
        y = dg.matmul(y, x)  # needs its input while it writes: never in place
    plan = plan_of(dg.reduce_sum(y), [x])
    assert plan.peak_bytes == 2 * 40000
    assert plan.arena_bytes == 2 * 40000


def test_live_bytes_follow_the_definition():
    x = dg.placeholder(dg.float32, [100])
    a = dg.matmul(dg.reshape(x, [10, 10]), dg.reshape(x, [10, 10]))
    b = dg.matmul(a, a)
    c = dg.matmul(b, a)
    plan = plan_of(c, [x])
    # Views of a feed take nothing; the fetched array is there all the time.
    by_name = {s.op.name: n for s, n in zip(plan.steps, plan.live_bytes, strict=True)}
    assert by_name[a.op.name] == 400 + 400
    assert by_name[b.op.name] == 800 + 400
    assert by_name[c.op.name] == 800 + 400
    assert plan.peak_bytes == 1200 == max(plan.live_bytes)
    assert plan.live_bytes[plan.peak_step] == plan.peak_bytes


def test_views_take_no_memory():
    x = dg.placeholder(dg.float32, [64, 64])
    y = dg.exp(x)
    t = dg.transpose(dg.reshape(y, [16, 256]))[::2]
    plan = plan_of(dg.reduce_sum(t), [x])
    viewed = slot_of(plan, t)
    assert viewed.kind == VIEW
    assert plan.slots[viewed.owner].tensor is y
    assert plan.peak_bytes == 64 * 64 * 4 + 4


def test_a_viewed_buffer_lives_as_long_as_the_view():
    x = dg.placeholder(dg.float32, [64, 64])
    y = dg.exp(x)
    view = y[1:]
    with dg.get_default_graph().control_dependencies([y]):
        other = dg.matmul(x, x)
    with dg.get_default_graph().control_dependencies([other]):
        total = dg.reduce_sum(view)
    plan = plan_of([total, dg.reduce_max(other)], [x])
    last = [i for i, s in enumerate(plan.steps) if s.op is total.op]
    assert slot_of(plan, y).last >= last[0]
    assert slot_of(plan, y).offset != slot_of(plan, other).offset


def test_kinds_of_memory():
    x = dg.placeholder(dg.float32, [5])
    c = dg.constant(np.arange(5, dtype=np.float32))
    v = dg.Variable(np.zeros(5, np.float32))
    found = dg.where(x > 0.0)
    plan = plan_of([x * c, v + x, found], [x])
    kinds = {s.name: s.kind for s in plan.slots}
    assert kinds[c.name] == CONST
    assert kinds[v.name] == VARIABLE
    assert kinds[found.name] == CALL
    assert [plan.slots[i].kind for i in plan.fetches[:2]] == [FETCH, FETCH]
    assert not plan.exact


def test_kernel_allocated_values_are_dropped_after_their_last_reader():
    x = dg.placeholder(dg.float32, [None])
    rows = dg.boolean_mask(x, x > 0.0)
    y = dg.exp(rows)
    total = dg.reduce_sum(y * 2.0)
    session = dg.Session()
    feed = {x: np.ones(250_000, np.float32)}
    got = session.run(total, feed)
    assert got == pytest.approx(250_000 * 2 * np.e, rel=1e-4)
    # Indices (2 MB) and a few arrays of 1 MB: never all intermediates at once,
    # and nothing is left behind.
    gc.collect()
    tracemalloc.start()
    try:
        session.run(total, feed)
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert left < 100_000


def test_the_order_with_the_least_peak_is_kept():
    x = dg.placeholder(dg.float32, [100, 100])
    products = [dg.matmul(x, x * float(i)) for i in range(10)]
    sums = [dg.reduce_sum(p) for p in products]  # built after all products
    plan = plan_of(dg.add_n(sums), [x])
    assert plan.peak_bytes == min(plan.tried.values())
    assert plan.peak_bytes < 4 * 40000 < plan.tried["creation"]


# -- rewrites ---------------------------------------------------


def types(plan):
    return [s.opdef.type for s in plan.steps]


def test_constants_are_folded():
    x = dg.placeholder(dg.float32, [3])
    y = x * (dg.constant([1.0, 2.0, 3.0]) + dg.constant(1.0))
    assert types(plan_of(y, [x])) == ["Mul"]


def test_equal_nodes_run_once_and_give_arrays_of_their_own():
    x = dg.placeholder(dg.float32, [3])
    a, b = dg.exp(x), dg.exp(x)
    assert types(plan_of([a, b], [x])) == ["Exp"]
    p, q = dg.Session().run([a, b], {x: [1, 2, 3]})
    assert not np.shares_memory(p, q)
    np.testing.assert_array_equal(p, q)


def test_operands_that_differ_in_sign_of_zero_are_not_equal():
    x = dg.placeholder(dg.float32, [1])
    a, b = dg.atan2(x, dg.constant([0.0])), dg.atan2(x, dg.constant([-0.0]))
    p, q = dg.Session().run([a, b], {x: [0.0]})
    assert (p[0], q[0]) == (0.0, np.float32(np.pi))


def test_random_nodes_are_never_merged_or_folded():
    a, b = dg.random_normal([100]), dg.random_normal([100])
    session = dg.Session()
    p, q = session.run([a, b])
    assert not np.array_equal(p, q)
    assert not np.array_equal(p, session.run(a))


def test_dead_nodes_and_identities_are_dropped():
    x = dg.placeholder(dg.float32, [3])
    y = dg.identity(dg.identity(dg.exp(x)))
    dg.log(y)
    assert types(plan_of(y, [x])) == ["Exp"]


def test_an_identity_that_waits_is_kept(graph):
    v = dg.Variable([1.0])
    x = dg.placeholder(dg.float32, [1])
    with graph.control_dependencies([v.assign_add(x)]):
        y = dg.identity(x)
    plan = plan_of(y, [x])
    assert plan.writes
    assert sorted(types(plan)) == ["AssignAdd", "Identity"]


def test_sizes_are_known_once_shapes_are_fed():
    x = dg.placeholder(dg.float32, [None, None])
    y = dg.reshape(x, [dg.shape(x)[1], dg.shape(x)[0]]) * 2.0
    plan = dg.Session().plan(y, {x: np.zeros((2, 3))})
    assert plan.exact
    assert plan.slots[plan.fetches[0]].dims == (3, 2)


def test_a_sum_of_one_value_many_times_is_not_summed_over_itself():
    # In place, the second pass would read what the first one wrote.
    x = dg.placeholder(dg.float32, [4])
    y = dg.exp(x)
    total = dg.reduce_sum(dg.add_n([y, y, y, y]))
    assert dg.Session().run(total, {x: np.zeros(4)}) == 16.0


def test_a_plan_prints_its_steps():
    fetches, feeds = mlp()
    text = str(plan_of(fetches, feeds))
    assert "peak" in text.splitlines()[0]
    assert len(text.splitlines()) > 20
    assert "MatMul" in text


def test_plans_of_one_session_share_one_arena():
    x = dg.placeholder(dg.float32, [None, 1000])
    programs = [dg.reduce_sum(dg.exp(x * float(k))) for k in range(1, 6)]
    session = dg.Session()
    for rows in (10, 200, 50):
        feed = {x: np.zeros((rows, 1000), np.float32)}
        for y in programs:
            assert session.run(y, feed) == rows * 1000
    largest = session.plan(programs[0], {x: np.zeros((200, 1000), np.float32)})
    assert session._state.arenas.nbytes == largest.arena_bytes


def test_a_run_inside_a_run_has_an_arena_of_its_own():
    x = dg.placeholder(dg.float32, [1000])
    inner = dg.reduce_sum(dg.exp(x))
    session = dg.Session()
    feed = {x: np.zeros(1000, np.float32)}
    expected = session.run(inner, feed)
    executable = session._runner(inner, feed).executable([feed[x]])
    frame = executable._take(None)  # as if this run were still under way
    try:
        assert session.run(inner, feed) == expected
    finally:
        frame.arena.lock.release()
    assert session.run(inner, feed) == expected


def test_a_sum_of_many_terms_keeps_one_partial_sum():
    x = dg.placeholder(dg.float32, [100, 100])
    terms = [dg.matmul(x, x) * float(k) for k in range(2, 14)]
    plan = plan_of(dg.reduce_sum(dg.add_n(terms)), [x])
    assert plan.peak_bytes <= 4 * x.shape.num_elements() * 4


def test_a_sum_on_arrival_adds_in_the_order_of_the_terms():
    x = dg.placeholder(dg.float32, [1000])
    terms = [dg.exp(x * float(k)) for k in range(-8, 9)]
    total = dg.add_n(terms[::-1])
    value = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    with dg.Session() as session:
        *parts, found = session.run([*terms[::-1], total], {x: value})
    expected = parts[0]
    for part in parts[1:]:
        expected = expected + part
    assert found.tobytes() == expected.tobytes()


def test_the_copy_of_a_broadcast_operand_is_planned():
    x, y = (dg.placeholder(dg.float32, [256, 256]) for _ in range(2))
    product = dg.reduce_sum(dg.matmul(x, y, transpose_b=True))
    g = dg.add_n(dg.gradients(product, [x, y]))
    value = np.random.default_rng(0).random((256, 256), np.float32)
    feeds = {x: value, y: value}
    plan = dg.Session().plan(g, feeds)
    assert [s.op.type for s in plan.steps].count("MatMul") == 2
    first = traced_first_run(g, feeds)
    assert abs(first - plan.peak_bytes) <= 0.02 * plan.peak_bytes + 16 * 1024
    with dg.Session() as session:
        expected = np.broadcast_to(2 * value.sum(0), (256, 256))
        np.testing.assert_allclose(session.run(g, feeds), expected, rtol=1e-4)
