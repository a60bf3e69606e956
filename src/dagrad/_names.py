"""Where the names of ``dagrad`` are: the table from which they load on first use."""

from __future__ import annotations

__all__ = ["WHERE"]

#: Module -> the names that dagrad has from it (see ``_lazy.lazily``).
WHERE = {
    "": (
        "app bitwise compat composites contrib errors flags gfile graph_util graphlib "
        "initializers layers linalg logging losses math nn ops optimize python random "
        "runtime scopes summary test testing train viz"
    ),
    "composites": (
        "AggregationMethod VariableAggregation VariableSynchronization arg_max arg_min "
        "broadcast_static_shape get_static_value initialize_all_tables is_tensor "
        "saturate_cast scalar_mul tables_initializer"
    ),
    "_graphdef.messages": "AttrValue GraphDef NodeDef",
    "graph_util": "import_graph_def",
    "graphlib.dtypes": (
        "DType as_dtype bool=bool_ complex128 complex64 double=float64 float16 float32 "
        "float64 half=float16 int16 int32 int64 int8 string uint16 uint32 uint64 uint8"
    ),
    "graphlib.errors": "DagradError OpError",
    "graphlib.explain": "explain_gradient",
    "graphlib.forward": "jvp",
    "graphlib.gradients": "IndexedSlices UnconnectedGradients gradients",
    "graphlib.graph": "Graph get_default_graph reset_default_graph",
    "graphlib.keys": "GraphKeys",
    "graphlib.operation": "Operation",
    "graphlib.overrides": "NoGradient NotDifferentiable RegisterGradient",
    "graphlib.shapes": "Dimension TensorShape",
    "graphlib.taylor": "derivatives jet taylor_coefficients",
    "graphlib.tensor": "Tensor",
    "ops._build": "constant",
    "ops.activations": "log_sigmoid sigmoid",
    "ops.blocks": (
        "batch_to_space batch_to_space_nd depth_to_space space_to_batch "
        "space_to_batch_nd space_to_depth"
    ),
    "ops.joining": "concat split stack unstack",
    "ops.views": "expand_dims reshape shape_n squeeze transpose",
    "ops.padding": "pad",
    "ops.rearrange": "repeat reverse roll tile",
    "ops.assignment": "assign assign_add assign_sub is_variable_initialized",
    "ops.branching": (
        "case checkpoint=recompute_grad cond function recompute_grad switch_case"
    ),
    "ops.clipping": (
        "clip_by_average_norm clip_by_global_norm clip_by_norm clip_by_value "
        "global_norm"
    ),
    "ops.complexes": "angle complex=complex_ conj imag real",
    "ops.core": (
        "add_n broadcast_to cast identity ones_like placeholder "
        "placeholder_with_default rank shape size stop_gradient zeros_like"
    ),
    "ops.counting": "bincount histogram_fixed_width",
    "ops.creation": (
        "convert_to_tensor fill lin_space linspace meshgrid ones range to_complex128 "
        "to_complex64 to_double to_float to_int32 to_int64 zeros"
    ),
    "ops.custom": "custom_gradient grad_pass_through identity_n prevent_gradient",
    "ops.decompositions": (
        "cholesky cholesky_solve matrix_determinant matrix_inverse matrix_solve "
        "matrix_triangular_solve"
    ),
    "ops.derivatives": (
        "batch_jacobian gauss_newton_vector_product hessian hessian_vector_product "
        "hessians jacobian linearize per_example_gradients vectorized_map vjp"
    ),
    "ops.einsum": "einsum tensordot",
    "ops.elementwise": (
        "add div div_no_nan divide floor_div floordiv floormod mod multiply negative "
        "realdiv square squared_difference subtract truediv truncatediv truncatemod"
    ),
    "ops.extremes": (
        "argmax argmin count_nonzero reduce_all reduce_any reduce_logsumexp reduce_max "
        "reduce_min"
    ),
    "ops.gather": "batch_gather gather",
    "ops.grouping": "group no_op tuple=tuple_",
    "ops.implicit": "custom_linear_solve custom_root",
    "ops.indexing": "slice=slice_ strided_slice",
    "ops.initialization": (
        "all_variables global_variables global_variables_initializer "
        "initialize_all_variables initialize_local_variables initialize_variables "
        "local_variables local_variables_initializer model_variables "
        "moving_average_variables report_uninitialized_variables trainable_variables "
        "variables_initializer"
    ),
    "ops.initializers": (
        "constant_initializer glorot_normal_initializer glorot_uniform_initializer "
        "ones_initializer orthogonal_initializer random_normal_initializer "
        "random_uniform_initializer truncated_normal_initializer "
        "uniform_unit_scaling_initializer variance_scaling_initializer "
        "zeros_initializer"
    ),
    "ops.linalg": "matmul",
    "ops.logical": (
        "equal greater greater_equal is_finite is_inf is_nan less less_equal "
        "logical_and logical_not logical_or logical_xor not_equal where where_v2"
    ),
    "ops.looping": "foldl foldr map_fn scan while_loop",
    "ops.matrix": (
        "cross diag diag_part eye matrix_band_part matrix_diag matrix_diag_part "
        "matrix_set_diag matrix_transpose trace"
    ),
    "ops.odes": "odeint",
    "ops.partition": (
        "boolean_mask dynamic_partition dynamic_stitch one_hot reverse_sequence "
        "sequence_mask"
    ),
    "ops.powers": "pow=pow_ reciprocal rsqrt sqrt",
    "ops.pyfunc": "numpy_function py_func",
    "ops.random": (
        "get_seed random_crop random_normal random_shuffle random_uniform "
        "set_random_seed truncated_normal"
    ),
    "ops.reduction": "reduce_mean reduce_prod reduce_sum",
    "ops.roots": "fixed_point newton",
    "ops.rounding": "abs=abs_ ceil floor maximum minimum rint round=round_ sign",
    "ops.sampling": "multinomial random_gamma random_poisson",
    "ops.scan": "cumprod cumsum",
    "ops.scatter": (
        "gather_nd scatter_nd tensor_scatter_add tensor_scatter_sub "
        "tensor_scatter_update"
    ),
    "ops.scatter_state": (
        "scatter_add scatter_div scatter_max scatter_min scatter_mul scatter_nd_add "
        "scatter_nd_sub scatter_nd_update scatter_sub scatter_update"
    ),
    "ops.segments": (
        "segment_max segment_mean segment_min segment_prod segment_sum "
        "unsorted_segment_max unsorted_segment_mean unsorted_segment_min "
        "unsorted_segment_prod unsorted_segment_sqrt_n unsorted_segment_sum"
    ),
    "ops.solvers": "bicgstab conjugate_gradient dense_solve",
    "ops.sorting": (
        "argsort invert_permutation searchsorted setdiff1d sort unique "
        "unique_with_counts"
    ),
    "ops.sparse_derivatives": "SparseDerivative sparse_hessian sparse_jacobian",
    "ops.sparsity": "hessian_sparsity jacobian_sparsity",
    "ops.special": "digamma erf erfc lgamma polygamma zeta",
    "ops.spectral": "matrix_solve_ls qr self_adjoint_eig self_adjoint_eigvals svd",
    "ops.state": "Variable",
    "ops.statistics": "accumulate_n norm",
    "ops.tensor_array": "TensorArray",
    "ops.transcendental": (
        "acos acosh asin asinh atan atan2 atanh cos cosh exp expm1 log log1p sin sinh "
        "tan tanh"
    ),
    "ops.variable_scope": (
        "AUTO_REUSE VariableScope get_local_variable get_variable get_variable_scope "
        "no_regularizer variable_op_scope variable_scope"
    ),
    "runtime.config": "ConfigProto GPUOptions GraphOptions OptimizerOptions",
    "runtime.report": "RunMetadata RunOptions",
    "runtime.session": "InteractiveSession Session get_default_session",
    "scopes": (
        "add_to_collection add_to_collections colocate_with control_dependencies "
        "control_flow_v2_enabled device dimension_at_index dimension_value "
        "disable_control_flow_v2 disable_eager_execution disable_resource_variables "
        "disable_tensor_equality disable_v2_behavior disable_v2_tensorshape "
        "enable_control_flow_v2 enable_resource_variables executing_eagerly "
        "get_collection get_collection_ref name_scope op_scope"
    ),
    "summary": "Summary",
}
