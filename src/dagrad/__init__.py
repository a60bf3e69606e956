"""dagrad: a static dataflow-graph engine on NumPy, with TensorFlow 1's names.

Operations build a graph, :func:`gradients` adds the backward operations to it, and
a :class:`Session` runs what is asked for:

>>> import dagrad as tf
>>> x = tf.placeholder(tf.float32, [None])
>>> y = tf.reduce_sum(tf.square(x))
>>> (dy,) = tf.gradients(y, [x])
>>> with tf.Session() as session:
...     print(session.run([y, dy], {x: [1.0, 2.0]}))
[np.float32(5.0), array([2., 4.], dtype=float32)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import ops as ops  # where each op and builder is; no family loads
from ._lazy import lazily as _lazily
from ._names import WHERE as _WHERE
from .graphlib.operators import PLACES as _PLACES

if TYPE_CHECKING:
    from typing import Any

    from . import (
        app,
        bitwise,
        compat,
        contrib,
        errors,
        flags,
        gfile,
        graph_util,
        initializers,
        layers,
        linalg,
        logging,
        losses,
        math,
        nn,
        optimize,
        python,
        random,
        summary,
        test,
        testing,
        train,
        viz,
    )
    from .composites import (
        AggregationMethod,
        VariableAggregation,
        VariableSynchronization,
        arg_max,
        arg_min,
        broadcast_static_shape,
        get_static_value,
        initialize_all_tables,
        is_tensor,
        saturate_cast,
        scalar_mul,
        tables_initializer,
    )
    from .graph_util import import_graph_def
    from .graphlib.dtypes import (
        DType,
        as_dtype,
        complex64,
        complex128,
        float16,
        float32,
        float64,
        int8,
        int16,
        int32,
        int64,
        string,
        uint8,
        uint16,
        uint32,
        uint64,
    )
    from .graphlib.dtypes import bool_ as bool
    from .graphlib.errors import DagradError, OpError
    from .graphlib.explain import explain_gradient
    from .graphlib.forward import jvp
    from .graphlib.gradients import IndexedSlices, UnconnectedGradients, gradients
    from .graphlib.graph import Graph, get_default_graph, reset_default_graph
    from .graphlib.keys import GraphKeys
    from .graphlib.operation import Operation
    from .graphlib.overrides import NoGradient, NotDifferentiable, RegisterGradient
    from .graphlib.shapes import Dimension, TensorShape
    from .graphlib.taylor import derivatives, jet, taylor_coefficients
    from .graphlib.tensor import Tensor
    from .ops._build import constant
    from .ops.activations import log_sigmoid, sigmoid
    from .ops.assignment import assign, assign_add, assign_sub, is_variable_initialized
    from .ops.blocks import (
        batch_to_space,
        batch_to_space_nd,
        depth_to_space,
        space_to_batch,
        space_to_batch_nd,
        space_to_depth,
    )
    from .ops.branching import case, cond, function, recompute_grad, switch_case
    from .ops.clipping import (
        clip_by_average_norm,
        clip_by_global_norm,
        clip_by_norm,
        clip_by_value,
        global_norm,
    )
    from .ops.complexes import angle, conj, imag, real
    from .ops.complexes import complex_ as complex
    from .ops.core import (
        add_n,
        broadcast_to,
        cast,
        identity,
        ones_like,
        placeholder,
        placeholder_with_default,
        rank,
        shape,
        size,
        stop_gradient,
        zeros_like,
    )
    from .ops.counting import bincount, histogram_fixed_width
    from .ops.creation import (
        convert_to_tensor,
        fill,
        lin_space,
        linspace,
        meshgrid,
        ones,
        range,
        to_complex64,
        to_complex128,
        to_double,
        to_float,
        to_int32,
        to_int64,
        zeros,
    )
    from .ops.custom import (
        custom_gradient,
        grad_pass_through,
        identity_n,
        prevent_gradient,
    )
    from .ops.decompositions import (
        cholesky,
        cholesky_solve,
        matrix_determinant,
        matrix_inverse,
        matrix_solve,
        matrix_triangular_solve,
    )
    from .ops.derivatives import (
        batch_jacobian,
        gauss_newton_vector_product,
        hessian,
        hessian_vector_product,
        hessians,
        jacobian,
        linearize,
        per_example_gradients,
        vectorized_map,
        vjp,
    )
    from .ops.einsum import einsum, tensordot
    from .ops.elementwise import (
        add,
        div,
        div_no_nan,
        divide,
        floor_div,
        floordiv,
        floormod,
        mod,
        multiply,
        negative,
        realdiv,
        square,
        squared_difference,
        subtract,
        truediv,
        truncatediv,
        truncatemod,
    )
    from .ops.extremes import (
        argmax,
        argmin,
        count_nonzero,
        reduce_all,
        reduce_any,
        reduce_logsumexp,
        reduce_max,
        reduce_min,
    )
    from .ops.gather import batch_gather, gather
    from .ops.grouping import group, no_op
    from .ops.grouping import tuple_ as tuple
    from .ops.implicit import custom_linear_solve, custom_root
    from .ops.indexing import slice_ as slice
    from .ops.indexing import strided_slice
    from .ops.initialization import (
        all_variables,
        global_variables,
        global_variables_initializer,
        initialize_all_variables,
        initialize_local_variables,
        initialize_variables,
        local_variables,
        local_variables_initializer,
        model_variables,
        moving_average_variables,
        report_uninitialized_variables,
        trainable_variables,
        variables_initializer,
    )
    from .ops.initializers import (
        constant_initializer,
        glorot_normal_initializer,
        glorot_uniform_initializer,
        ones_initializer,
        orthogonal_initializer,
        random_normal_initializer,
        random_uniform_initializer,
        truncated_normal_initializer,
        uniform_unit_scaling_initializer,
        variance_scaling_initializer,
        zeros_initializer,
    )
    from .ops.joining import concat, split, stack, unstack
    from .ops.linalg import matmul
    from .ops.logical import (
        equal,
        greater,
        greater_equal,
        is_finite,
        is_inf,
        is_nan,
        less,
        less_equal,
        logical_and,
        logical_not,
        logical_or,
        logical_xor,
        not_equal,
        where,
        where_v2,
    )
    from .ops.looping import foldl, foldr, map_fn, scan, while_loop
    from .ops.matrix import (
        cross,
        diag,
        diag_part,
        eye,
        matrix_band_part,
        matrix_diag,
        matrix_diag_part,
        matrix_set_diag,
        matrix_transpose,
        trace,
    )
    from .ops.odes import odeint
    from .ops.padding import pad
    from .ops.partition import (
        boolean_mask,
        dynamic_partition,
        dynamic_stitch,
        one_hot,
        reverse_sequence,
        sequence_mask,
    )
    from .ops.powers import pow_ as pow
    from .ops.powers import reciprocal, rsqrt, sqrt
    from .ops.pyfunc import numpy_function, py_func
    from .ops.random import (
        get_seed,
        random_crop,
        random_normal,
        random_shuffle,
        random_uniform,
        set_random_seed,
        truncated_normal,
    )
    from .ops.rearrange import repeat, reverse, roll, tile
    from .ops.reduction import reduce_mean, reduce_prod, reduce_sum
    from .ops.roots import fixed_point, newton
    from .ops.rounding import abs_ as abs
    from .ops.rounding import ceil, floor, maximum, minimum, rint, sign
    from .ops.rounding import round_ as round
    from .ops.sampling import multinomial, random_gamma, random_poisson
    from .ops.scan import cumprod, cumsum
    from .ops.scatter import (
        gather_nd,
        scatter_nd,
        tensor_scatter_add,
        tensor_scatter_sub,
        tensor_scatter_update,
    )
    from .ops.scatter_state import (
        scatter_add,
        scatter_div,
        scatter_max,
        scatter_min,
        scatter_mul,
        scatter_nd_add,
        scatter_nd_sub,
        scatter_nd_update,
        scatter_sub,
        scatter_update,
    )
    from .ops.segments import (
        segment_max,
        segment_mean,
        segment_min,
        segment_prod,
        segment_sum,
        unsorted_segment_max,
        unsorted_segment_mean,
        unsorted_segment_min,
        unsorted_segment_prod,
        unsorted_segment_sqrt_n,
        unsorted_segment_sum,
    )
    from .ops.solvers import bicgstab, conjugate_gradient, dense_solve
    from .ops.sorting import (
        argsort,
        invert_permutation,
        searchsorted,
        setdiff1d,
        sort,
        unique,
        unique_with_counts,
    )
    from .ops.sparse_derivatives import (
        SparseDerivative,
        sparse_hessian,
        sparse_jacobian,
    )
    from .ops.sparsity import hessian_sparsity, jacobian_sparsity
    from .ops.special import digamma, erf, erfc, lgamma, polygamma, zeta
    from .ops.spectral import (
        matrix_solve_ls,
        qr,
        self_adjoint_eig,
        self_adjoint_eigvals,
        svd,
    )
    from .ops.state import Variable
    from .ops.statistics import accumulate_n, norm
    from .ops.tensor_array import TensorArray
    from .ops.transcendental import (
        acos,
        acosh,
        asin,
        asinh,
        atan,
        atan2,
        atanh,
        cos,
        cosh,
        exp,
        expm1,
        log,
        log1p,
        sin,
        sinh,
        tan,
        tanh,
    )
    from .ops.variable_scope import (
        AUTO_REUSE,
        VariableScope,
        get_local_variable,
        get_variable,
        get_variable_scope,
        no_regularizer,
        variable_op_scope,
        variable_scope,
    )
    from .ops.views import expand_dims, reshape, shape_n, squeeze, transpose
    from .runtime.config import ConfigProto, GPUOptions, GraphOptions, OptimizerOptions
    from .runtime.report import RunMetadata, RunOptions
    from .runtime.session import InteractiveSession, Session, get_default_session
    from .scopes import (
        add_to_collection,
        add_to_collections,
        colocate_with,
        control_dependencies,
        control_flow_v2_enabled,
        device,
        dimension_at_index,
        dimension_value,
        disable_control_flow_v2,
        disable_eager_execution,
        disable_resource_variables,
        disable_tensor_equality,
        disable_v2_behavior,
        disable_v2_tensorshape,
        enable_control_flow_v2,
        enable_resource_variables,
        executing_eagerly,
        get_collection,
        get_collection_ref,
        name_scope,
        op_scope,
    )

    Summary: Any  # the classes of an extra
    AttrValue: Any
    GraphDef: Any
    NodeDef: Any
    checkpoint = recompute_grad
    half = float16
    double = float64
else:
    __getattr__, __dir__ = _lazily(__name__, _WHERE)

# Builders of rooms that graphlib cannot see.
_PLACES.builders.update(
    draw=f"{__name__}.viz",
    graph_to_dot=f"{__name__}.viz",
    graph_to_svg=f"{__name__}.viz",
    session=f"{__name__}.runtime.session",
)

__version__ = "0.1.0.dev0"

newaxis = None

# fmt: off
__all__ = [
    "AUTO_REUSE", "AggregationMethod", "ConfigProto", "DType", "DagradError",
    "Dimension", "GPUOptions", "Graph", "GraphKeys", "GraphOptions", "IndexedSlices",
    "InteractiveSession", "NoGradient", "NotDifferentiable", "OpError", "Operation",
    "OptimizerOptions", "RegisterGradient", "RunMetadata", "RunOptions", "Session",
    "SparseDerivative", "Tensor", "TensorArray", "TensorShape", "UnconnectedGradients",
    "Variable", "VariableAggregation", "VariableScope", "VariableSynchronization",
    "__version__", "abs", "accumulate_n", "acos", "acosh", "add", "add_n",
    "add_to_collection", "add_to_collections", "all_variables", "angle", "app",
    "arg_max", "arg_min", "argmax", "argmin", "argsort", "as_dtype", "asin", "asinh",
    "assign", "assign_add", "assign_sub", "atan", "atan2", "atanh", "batch_gather",
    "batch_jacobian", "batch_to_space", "batch_to_space_nd", "bicgstab", "bincount",
    "bitwise", "bool", "boolean_mask", "broadcast_static_shape", "broadcast_to", "case",
    "cast", "ceil", "checkpoint", "cholesky", "cholesky_solve", "clip_by_average_norm",
    "clip_by_global_norm", "clip_by_norm", "clip_by_value", "colocate_with", "compat",
    "complex", "complex64", "complex128", "concat", "cond", "conj",
    "conjugate_gradient", "constant", "constant_initializer", "contrib",
    "control_dependencies", "control_flow_v2_enabled", "convert_to_tensor", "cos",
    "cosh", "count_nonzero",
    "cross", "cumprod", "cumsum", "custom_gradient", "custom_linear_solve",
    "custom_root", "dense_solve", "depth_to_space", "derivatives", "device", "diag",
    "diag_part", "digamma", "dimension_at_index", "dimension_value",
    "disable_control_flow_v2", "disable_eager_execution", "disable_resource_variables",
    "disable_tensor_equality", "disable_v2_behavior", "disable_v2_tensorshape", "div",
    "div_no_nan", "divide", "double", "dynamic_partition", "dynamic_stitch", "einsum",
    "enable_control_flow_v2", "enable_resource_variables", "equal", "erf", "erfc",
    "errors", "executing_eagerly",
    "exp", "expand_dims", "explain_gradient", "expm1", "eye", "fill", "fixed_point",
    "flags", "float16", "float32", "float64", "floor", "floor_div", "floordiv",
    "floormod", "foldl", "foldr", "function", "gather", "gather_nd",
    "gauss_newton_vector_product", "get_collection", "get_collection_ref",
    "get_default_graph", "get_default_session", "get_local_variable", "get_seed",
    "get_static_value", "get_variable", "get_variable_scope", "gfile", "global_norm",
    "global_variables", "global_variables_initializer", "glorot_normal_initializer",
    "glorot_uniform_initializer", "grad_pass_through", "gradients", "graph_util",
    "greater", "greater_equal", "group", "half", "hessian", "hessian_sparsity",
    "hessian_vector_product", "hessians", "histogram_fixed_width", "identity",
    "identity_n", "imag", "import_graph_def", "initialize_all_tables",
    "initialize_all_variables",
    "initialize_local_variables", "initialize_variables", "initializers", "int8",
    "int16", "int32", "int64", "invert_permutation", "is_finite", "is_inf", "is_nan",
    "is_tensor", "is_variable_initialized", "jacobian", "jacobian_sparsity", "jet",
    "jvp", "layers", "less", "less_equal", "lgamma", "lin_space", "linalg", "linearize",
    "linspace", "local_variables", "local_variables_initializer", "log", "log1p",
    "log_sigmoid", "logging", "logical_and", "logical_not", "logical_or", "logical_xor",
    "losses", "map_fn", "math", "matmul", "matrix_band_part", "matrix_determinant",
    "matrix_diag", "matrix_diag_part", "matrix_inverse", "matrix_set_diag",
    "matrix_solve", "matrix_solve_ls", "matrix_transpose", "matrix_triangular_solve",
    "maximum", "meshgrid", "minimum", "mod", "model_variables",
    "moving_average_variables", "multinomial", "multiply", "name_scope", "negative",
    "newaxis", "newton", "nn", "no_op", "no_regularizer", "norm", "not_equal",
    "numpy_function", "odeint", "one_hot", "ones", "ones_initializer", "ones_like",
    "op_scope", "optimize", "orthogonal_initializer", "pad", "per_example_gradients",
    "placeholder", "placeholder_with_default", "polygamma", "pow", "prevent_gradient",
    "py_func", "python", "qr", "random", "random_crop", "random_gamma", "random_normal",
    "random_normal_initializer", "random_poisson", "random_shuffle", "random_uniform",
    "random_uniform_initializer", "range", "rank", "real", "realdiv", "reciprocal",
    "recompute_grad", "reduce_all", "reduce_any", "reduce_logsumexp", "reduce_max",
    "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum", "repeat",
    "report_uninitialized_variables", "reset_default_graph", "reshape", "reverse",
    "reverse_sequence", "rint", "roll", "round", "rsqrt", "saturate_cast", "scalar_mul",
    "scan", "scatter_add", "scatter_div", "scatter_max", "scatter_min", "scatter_mul",
    "scatter_nd", "scatter_nd_add", "scatter_nd_sub", "scatter_nd_update",
    "scatter_sub", "scatter_update", "searchsorted", "segment_max", "segment_mean",
    "segment_min", "segment_prod", "segment_sum", "self_adjoint_eig",
    "self_adjoint_eigvals", "sequence_mask", "set_random_seed", "setdiff1d", "shape",
    "shape_n", "sigmoid", "sign", "sin", "sinh", "size", "slice", "sort",
    "space_to_batch", "space_to_batch_nd", "space_to_depth", "sparse_hessian",
    "sparse_jacobian", "split", "sqrt", "square", "squared_difference", "squeeze",
    "stack", "stop_gradient", "strided_slice", "string", "subtract", "summary", "svd",
    "switch_case", "tables_initializer", "tan", "tanh", "taylor_coefficients",
    "tensor_scatter_add", "tensor_scatter_sub", "tensor_scatter_update", "tensordot",
    "test", "testing", "tile", "to_complex64", "to_complex128", "to_double", "to_float",
    "to_int32", "to_int64", "trace", "train", "trainable_variables", "transpose",
    "truediv", "truncated_normal", "truncated_normal_initializer", "truncatediv",
    "truncatemod", "tuple", "uint8", "uint16", "uint32", "uint64",
    "uniform_unit_scaling_initializer", "unique", "unique_with_counts",
    "unsorted_segment_max", "unsorted_segment_mean", "unsorted_segment_min",
    "unsorted_segment_prod", "unsorted_segment_sqrt_n", "unsorted_segment_sum",
    "unstack", "variable_op_scope", "variable_scope", "variables_initializer",
    "variance_scaling_initializer", "vectorized_map", "viz", "vjp", "where", "where_v2",
    "while_loop", "zeros", "zeros_initializer", "zeros_like", "zeta",
]
# fmt: on
