"""Operation definitions and the builders that add them to a graph.

Families load on first use (see ``graphlib/operators.py``): importing this package
loads none.  Three tables say what is where; a test compares them with the families.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..graphlib.operators import PLACES

#: Module -> the types of the ops that it declares.
TYPES = {
    "_build": "Const",
    "_conv": (
        "Conv1D Conv1DBackpropFilter Conv1DBackpropInput Conv2D Conv2DBackpropFilter "
        "Conv2DBackpropInput Conv3D Conv3DBackpropFilterV2 Conv3DBackpropInputV2 "
        "DepthwiseConv2dNative DepthwiseConv2dNativeBackpropFilter "
        "DepthwiseConv2dNativeBackpropInput"
    ),
    "_pool": (
        "AvgPool AvgPoolGrad MaxPool MaxPoolGrad MaxPoolGradGrad MaxPoolWithArgmax"
    ),
    "activations": (
        "Elu EluGrad LeakyRelu LeakyReluGrad LogSigmoid Relu Relu6 Relu6Grad "
        "ReluGrad Selu SeluGrad Sigmoid SigmoidGrad Softplus SoftplusGrad Softsign"
    ),
    "assignment": (
        "Assign AssignAdd AssignSub InitializedValue IsVariableInitialized VariableV2"
    ),
    "branches": "Call Case RecomputedCall StatefulCall StatefulCase",
    "branching": "FirstTrue",
    "candidates": "LogUniformCandidateSampler UniformCandidateSampler",
    "checkpointed": "CheckpointedGradient",
    "complexes": "Angle Complex ComplexAbs Conj Imag Real",
    "core": (
        "AddN BroadcastTo Cast Identity OnesLike Placeholder PlaceholderWithDefault "
        "Rank Shape Size StopGradient SumTo ZerosLike"
    ),
    "counting": "Bincount HistogramFixedWidth",
    "creation": "Fill LinSpace OfShape Range",
    "custom": "CustomGradient IdentityN PreventGradient",
    "decompositions": (
        "Cholesky LogMatrixDeterminant MatrixDeterminant MatrixInverse MatrixSolve "
        "MatrixTriangularSolve"
    ),
    "einsum": "Einsum",
    "elementwise": (
        "Add DivNoNan FloorDiv FloorMod Mul Neg RealDiv Square SquaredDifference Sub "
        "TruncateDiv TruncateMod"
    ),
    "exponential": "MatrixExponential MatrixExponentialMove",
    "extremes": (
        "All Any ArgMax ArgMin CountNonzero LogSumExp LogSumExpWeights Max Min TieShare"
    ),
    "gather": "AddRows GatherGrad GatherV2 ScatterRows",
    "grouping": "NoOp",
    "history_rows": "Even Rows RowsGrad SwapRows",
    "implicit": "Implicit",
    "indexing": "AdvancedIndex AdvancedIndexGrad",
    "initialization": "ReportUninitialized",
    "joining": "ConcatV2 Pack Split SplitV Unpack",
    "linalg": "MatMul",
    "logical": (
        "BitwiseAnd BitwiseOr BitwiseXor Equal Greater GreaterEqual Invert IsFinite "
        "IsInf IsNan LeftShift Less LessEqual LogicalAnd LogicalNot LogicalOr "
        "LogicalXor NotEqual RightShift Select SelectV2 Where"
    ),
    "loops": "Loop StatefulLoop",
    "losses_nn": "L2Loss SigmoidCrossEntropyWithLogits",
    "matrix": (
        "Cross Eye MatrixBandPart MatrixDiag MatrixDiagPart MatrixSetDiag "
        "MatrixTranspose"
    ),
    "nn": "BiasAdd BiasAddGrad InTopKV2",
    "normalization": "FusedBatchNorm FusedBatchNormGrad",
    "padding": "MirrorPad MirrorPadGrad Pad",
    "partition": (
        "MaskIndices OneHot PartitionIndices ReverseSequence SequenceMask StitchSize"
    ),
    "powers": "Pow PowScalar Reciprocal ReciprocalGrad Rsqrt RsqrtGrad Sqrt SqrtGrad",
    "pyfunc": "PyFunc PyFuncDerivative PyFuncStateless",
    "random": (
        "RandomOrthogonal RandomPermutation RandomStandardNormal RandomUniform "
        "RandomUniformInt TruncatedNormal"
    ),
    "rearrange": "RepeatIndices ReverseV2 Roll Tile TileGrad",
    "reduction": "Mean Prod ReducedSize Spread Sum",
    "rounding": "Abs Ceil Floor Maximum Minimum Rint Round Sign",
    "rows": "IndexBelow JoinRows SetRows SizedRows SplitRows Unshaped",
    "sampling": "Multinomial RandomGamma RandomGammaGrad RandomPoisson",
    "scan": "Cumprod Cumsum Delay LinearRecurrence",
    "scatter": "GatherNd GatherNdLast ScatterNd TensorScatterUpdate",
    "scatter_state": (
        "ScatterAdd ScatterDiv ScatterMax ScatterMin ScatterMul ScatterNdAdd "
        "ScatterNdSub ScatterNdUpdate ScatterSub ScatterUpdate"
    ),
    "segment_products": "SegmentCumprod SegmentOrder",
    "segments": (
        "SegmentCounts SegmentGather SegmentMax SegmentMin SegmentProd SegmentSum "
        "UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum"
    ),
    "slicing": "Slice SliceGrad StridedSlice StridedSliceGrad",
    "softmax": (
        "LogSoftmax Softmax SoftmaxCrossEntropyWithLogits SoftmaxGrad "
        "SparseSoftmaxCrossEntropyWithLogits"
    ),
    "solvers": "Ensure",
    "sorting": (
        "ArgSort InvertPermutation ListDiffPositions SearchSorted Sort TopKV2 "
        "UniquePositions"
    ),
    "sparse_training": (
        "SparseApplyAdadelta SparseApplyAdagrad SparseApplyCenteredRMSProp "
        "SparseApplyFtrlV2 SparseApplyMomentum SparseApplyRMSProp"
    ),
    "special": "Digamma Erf Erfc Erfinv Gelu Lgamma Ndtri Polygamma Zeta",
    "spectral": "PseudoInverse Qr SelfAdjointEigV2 Svd",
    "statistics": "EuclideanNorm Moments",
    "summaries": (
        "AudioSummary HistogramSummary ImageSummary MergeSummary ScalarSummary "
        "TextSummary"
    ),
    "training": (
        "ApplyAdadelta ApplyAdagrad ApplyAdam ApplyCenteredRMSProp ApplyFtrlV2 "
        "ApplyGradientDescent ApplyMomentum ApplyRMSProp"
    ),
    "transcendental": (
        "Acos Acosh Asin Asinh Atan Atan2 Atanh Cos Cosh Exp Expm1 Log Log1p Sin Sinh "
        "Tan Tanh TanhGrad Xdivy Xlogy"
    ),
    "views": "ExpandDims Reshape Squeeze Transpose TransposeBy",
}

#: Module -> the builders that its ``OPERATORS`` offers to graphlib and other families.
OPERATORS = {
    "_batch": "repeat_rows",
    "complexes": "conj",
    "core": "add_n broadcast_like cast constant identity ones_like sum_to zeros_like",
    "creation": "fill",
    "decompositions": "matrix_solve",
    "einsum": "einsum tensordot",
    "elementwise": "add floordiv mod mul neg sub truediv",
    "extremes": (
        "argmax argmin count_nonzero reduce_all reduce_any reduce_logsumexp reduce_max "
        "reduce_min"
    ),
    "gather": "add_rows scatter_rows",
    "history_rows": "even",
    "indexing": "getitem",
    "joining": "concat stack unstack",
    "linalg": "matmul",
    "logical": (
        "and greater greater_equal invert less less_equal not_equal or where xor"
    ),
    "looping": "map_rows",
    "matrix": "band_part eye",
    "powers": "pow",
    "reduction": "reduce_mean reduce_prod reduce_sum",
    "rounding": "abs",
    "rows": "set_rows",
    "saved_variables": "variable_from_op variable_record",
    "scan": "cumprod cumsum",
    "softmax": "log_softmax softmax",
    "views": "transpose",
}

#: Module -> the NumPy functions that its ``NUMPY`` stands in for, by ``__name__``.
NUMPY = {
    "_numpy_forms": (
        "argsort concatenate expand_dims flip moveaxis pad ravel repeat reshape roll "
        "searchsorted sort split squeeze stack swapaxes take tile transpose"
    ),
    "clipping": "clip",
    "complexes": "angle conjugate imag real",
    "counting": "bincount",
    "decompositions": "cholesky det inv matrix_transpose slogdet solve",
    "einsum": "einsum tensordot",
    "elementwise": (
        "add divide floor_divide fmod multiply negative remainder square subtract"
    ),
    "extremes": "all amax amin any argmax argmin count_nonzero max min",
    "linalg": "dot matmul outer",
    "logical": (
        "bitwise_and bitwise_or bitwise_xor equal greater greater_equal invert "
        "isfinite isinf isnan left_shift less less_equal logical_and logical_not "
        "logical_or logical_xor not_equal right_shift where"
    ),
    "matrix": "cross diag diagonal trace tril triu",
    "powers": "power reciprocal sqrt",
    "reduction": "mean prod sum",
    "rounding": "absolute around ceil floor maximum minimum rint round sign",
    "scan": "cumprod cumsum",
    "spectral": "eigh eigvalsh pinv qr",
    "statistics": "norm std var",
    "transcendental": (
        "arccos arccosh arcsin arcsinh arctan arctan2 arctanh cos cosh exp expm1 log "
        "log1p sin sinh tan tanh"
    ),
}


def _enter(places: dict[str, str], families: Mapping[str, str]) -> None:
    for family, names in families.items():
        places.update(dict.fromkeys(names.split(), f"{__name__}.{family}"))


_enter(PLACES.types, TYPES)
_enter(PLACES.builders, OPERATORS)
_enter(PLACES.functions, NUMPY)
