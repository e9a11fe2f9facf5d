"""Operations of TensorFlow that check rank and size of their tensors themselves.

`tests/support/one_operation.py` gave them tensors of ranks from 0 to 7 and of many sizes, with attributes drawn from
those in `tests/support/operation_graphs.py` (TensorFlow 2.21 on a CPU, with oneDNN and without): none ended the
process. It names those that were not tried, as they only make, keep or hand on tensors. Other attributes, and
GPUs, were not tried either.

What is not listed is not known to check its tensors, and many are known not to: a signature that runs one takes only
shapes that it declares. To add one, let that program try a thousand graphs of it; a test tries one of each.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HANDING_ON = frozenset({
    "Assert", "Case", "CheckNumerics", "CheckNumericsV2", "Const", "ControlTrigger", "DeepCopy", "Empty",
    "EnsureShape", "Enter", "Exit", "FakeParam", "GuaranteeConst", "HashTable", "HashTableV2", "Identity",
    "IdentityN", "If", "LookupTableSizeV2", "LoopCond", "Merge", "MutableHashTableV2", "NextIteration", "NoOp",
    "OnesLike", "PartitionedCall", "Placeholder", "PlaceholderWithDefault", "PreventGradient", "Print", "PrintV2",
    "Rank", "ReadVariableOp", "RefIdentity", "RefMerge", "RefSwitch", "Shape", "ShapeN", "Size", "Snapshot",
    "StatefulPartitionedCall", "StatelessCase", "StatelessIf", "StatelessWhile", "StopGradient", "Switch",
    "Timestamp", "VarHandleOp", "Variable", "VariableV2", "While", "ZerosLike",
})  # fmt: skip
"""Hand tensors on, make them from nothing, keep them, or call functions, branches and loops."""
VALUES = frozenset({
    "Abs", "Acos", "Acosh", "Add", "AddN", "AddV2", "Angle", "ApproximateEqual", "AsString", "Asin", "Asinh", "Atan",
    "Atan2", "Atanh", "BesselI0", "BesselI0e", "BesselI1", "BesselI1e", "BesselJ0", "BesselJ1", "BesselK0",
    "BesselK0e", "BesselK1", "BesselK1e", "BesselY0", "BesselY1", "Betainc", "BiasAdd", "BiasAddV1", "Bitcast",
    "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BroadcastArgs", "BroadcastTo", "Bucketize", "Cast", "Ceil",
    "ClipByValue", "Complex", "ComplexAbs", "Conj", "Cos", "Cosh", "Dawsn", "Digamma", "Div", "DivNoNan", "Elu",
    "Equal", "Erf", "Erfc", "Erfinv", "Exp", "Expint", "Expm1", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars",
    "Floor", "FloorDiv", "FloorMod", "FresnelCos", "FresnelSin", "Greater", "GreaterEqual", "Igamma", "Igammac",
    "Imag", "Inv", "Invert", "IsFinite", "IsInf", "IsNan", "LeakyRelu", "LeftShift", "Less", "LessEqual", "Lgamma",
    "Log", "Log1p", "LogicalAnd", "LogicalNot", "LogicalOr", "Maximum", "Minimum", "Mod", "Mul", "MulNoNan", "Ndtri",
    "Neg", "NextAfter", "NotEqual", "Polygamma", "PopulationCount", "Pow", "QuantizeAndDequantizeV2",
    "QuantizeAndDequantizeV4", "Real", "RealDiv", "Reciprocal", "Relu", "Relu6", "RightShift", "Rint", "Round",
    "Rsqrt", "Select", "SelectV2", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Spence", "Sqrt",
    "Square", "SquaredDifference", "Sub", "Tan", "Tanh", "TruncateDiv", "TruncateMod", "Xdivy", "Xlog1py", "Xlogy",
    "Zeta",
})  # fmt: skip
"""Compute value by value, of one tensor or of several that are broadcast."""
AXES = frozenset({
    "All", "Any", "ArgMax", "ArgMin", "Bincount", "Cumprod", "Cumsum", "CumulativeLogsumexp", "DenseBincount",
    "EuclideanNorm", "HistogramFixedWidth", "InTopK", "InTopKV2", "L2Loss", "LogSoftmax", "LowerBound", "Max", "Mean",
    "Min", "NthElement", "Prod", "SegmentMax", "SegmentMean", "SegmentMin", "SegmentProd", "SegmentSum", "Softmax",
    "SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits", "Sum", "TopKV2", "Unique", "UniqueV2",
    "UniqueWithCounts", "UniqueWithCountsV2", "UnsortedSegmentMax", "UnsortedSegmentMin", "UnsortedSegmentProd",
    "UnsortedSegmentSum", "UpperBound",
})  # fmt: skip
"""Reduce, sort, count or accumulate along axes."""
LAYOUT = frozenset({
    "BatchToSpaceND", "Concat", "ConcatOffset", "ConcatV2", "DataFormatDimMap", "DataFormatVecPermute",
    "DepthToSpace", "Diag", "DiagPart", "DynamicPartition", "DynamicStitch", "ExpandDims", "Fill", "Gather",
    "GatherNd", "GatherV2", "InvertPermutation", "LinSpace", "ListDiff", "MatrixBandPart", "MatrixDiag",
    "MatrixDiagPart", "MatrixDiagPartV2", "MatrixDiagPartV3", "MatrixDiagV2", "MatrixDiagV3", "MatrixSetDiag",
    "MatrixSetDiagV2", "MatrixSetDiagV3", "MirrorPad", "OneHot", "Pack", "Pad", "PadV2", "ParallelDynamicStitch",
    "Range", "Reshape", "ResourceGather", "ResourceGatherNd", "Reverse", "ReverseSequence", "ReverseV2", "Roll",
    "Slice", "SpaceToBatchND", "SpaceToDepth", "Split", "SplitV", "Squeeze", "StridedSlice", "Tile", "Transpose",
    "Unpack", "UnravelIndex", "Where",
})  # fmt: skip
"""Join, split, choose, repeat, reorder and pad."""
LAYERS = frozenset({
    "AvgPool", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Conv2D", "Conv3D", "DepthwiseConv2dNative",
    "Dilation2D", "Einsum", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "GRUBlockCell", "LRN", "MatMul",
    "MaxPool", "MaxPool3D", "MaxPoolWithArgmax",
})  # fmt: skip
"""What layers compute: products, convolutions, pools, normalisation, recurrent cells."""
LINEAR_ALGEBRA = frozenset({
    "Cholesky", "Cross", "Eig", "FFT", "FFT2D", "FFT3D", "IFFT", "IFFT2D", "IFFT3D", "LogMatrixDeterminant", "Lu",
    "MatrixDeterminant", "MatrixInverse", "MatrixSolve", "MatrixSquareRoot", "MatrixTriangularSolve", "Qr",
    "SelfAdjointEigV2", "Svd", "TridiagonalMatMul",
})  # fmt: skip
"""Matrices and spectra."""
STRINGS = frozenset({
    "DecodeBase64", "DecodePaddedRaw", "DecodeRaw", "EncodeBase64", "ReduceJoin", "RegexFullMatch", "RegexReplace",
    "StaticRegexFullMatch", "StaticRegexReplace", "StringFormat", "StringJoin", "StringLength", "StringLower",
    "StringNGrams", "StringSplit", "StringSplitV2", "StringStrip", "StringToHashBucket", "StringToHashBucketFast",
    "StringToHashBucketStrong", "StringToNumber", "StringUpper", "Substr", "UnicodeScript", "UnicodeTranscode",
})  # fmt: skip
"""Text and its encodings."""
PARSERS = frozenset({
    "DecodeBmp", "DecodeCSV", "DecodeCompressed", "DecodeGif", "DecodeImage", "DecodeJSONExample", "DecodeJpeg",
    "DecodePng", "DecodeWav", "DecodeWebP", "EncodeJpeg", "EncodePng", "EncodeWav", "ExtractJpegShape",
    "LookupTableFindV2", "ParseExample", "ParseExampleV2", "ParseSequenceExampleV2", "ParseSingleExample",
    "SerializeTensor",
})  # fmt: skip
"""Examples, tables, images and sound from strings."""
IMAGES = frozenset({
    "AdjustContrastv2", "AdjustHue", "AdjustSaturation", "CropAndResize", "DrawBoundingBoxes", "DrawBoundingBoxesV2",
    "ExtractGlimpse", "HSVToRGB", "ImageProjectiveTransformV2", "ImageProjectiveTransformV3", "NonMaxSuppression",
    "NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5",
    "NonMaxSuppressionWithOverlaps", "RGBToHSV", "ResizeArea", "ResizeBicubic", "ResizeBilinear",
    "ResizeNearestNeighbor", "ScaleAndTranslate",
})  # fmt: skip
"""Pictures and boxes."""
SPARSE = frozenset({
    "DenseCountSparseOutput", "RaggedBincount", "RaggedCountSparseOutput", "RaggedFillEmptyRows", "RaggedRange",
    "RaggedTensorToSparse", "RaggedTensorToTensor", "RaggedTensorToVariant", "SparseAdd", "SparseBincount",
    "SparseFillEmptyRows", "SparseReduceMax", "SparseReduceSum", "SparseReorder", "SparseReshape",
    "SparseSegmentMean", "SparseSegmentMeanWithNumSegments", "SparseSegmentSqrtN",
    "SparseSegmentSqrtNWithNumSegments", "SparseSegmentSum", "SparseSegmentSumWithNumSegments", "SparseSlice",
    "SparseSoftmax", "SparseTensorDenseAdd", "SparseTensorDenseMatMul", "SparseToDense",
})  # fmt: skip
"""Sparse and ragged tensors; the row splits of those that a request brings are checked before."""
RANDOM = frozenset({
    "Multinomial", "ParameterizedTruncatedNormal", "RandomGamma", "RandomPoissonV2", "RandomShuffle",
    "RandomStandardNormal", "RandomUniform", "RandomUniformInt", "StatelessMultinomial", "StatelessRandomBinomial",
    "StatelessRandomGammaV2", "StatelessRandomGetAlg", "StatelessRandomGetKeyCounter",
    "StatelessRandomGetKeyCounterAlg", "StatelessRandomNormal", "StatelessRandomNormalV2", "StatelessRandomPoisson",
    "StatelessRandomUniform", "StatelessRandomUniformFullInt", "StatelessRandomUniformFullIntV2",
    "StatelessRandomUniformInt", "StatelessRandomUniformIntV2", "StatelessRandomUniformV2",
    "StatelessTruncatedNormal", "StatelessTruncatedNormalV2", "TruncatedNormal",
})  # fmt: skip
"""Random numbers."""
LISTS = frozenset({
    "AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp", "EmptyTensorList", "TensorArrayConcatV3",
    "TensorArrayGatherV3", "TensorArrayReadV3", "TensorArrayScatterV3", "TensorArraySizeV3", "TensorArrayV3",
    "TensorArrayWriteV3", "TensorListConcatV2", "TensorListElementShape", "TensorListFromTensor", "TensorListGather",
    "TensorListGetItem", "TensorListLength", "TensorListPopBack", "TensorListPushBack", "TensorListReserve",
    "TensorListResize", "TensorListScatterV2", "TensorListSetItem", "TensorListStack",
})  # fmt: skip
"""Lists of tensors, as loops over time steps make them, and variables that are written."""
CHECKED = frozenset().union(
    HANDING_ON, VALUES, AXES, LAYOUT, LAYERS, LINEAR_ALGEBRA, STRINGS, PARSERS, IMAGES, SPARSE, RANDOM, LISTS
)
ON_CONDITION: Mapping[str, tuple[str, int]] = MappingProxyType({"ResourceGather": ("batch_dims", 0)})
"""Of these one value of an attribute is checked; others end the process."""
TRUSTING_INTEGERS = frozenset({"TensorListConcatV2", "TensorListGetItem"})
"""Of these all is checked but that an integer, mostly the counter of a loop, has the rank that it must have."""


def operation_of(node: Any) -> str:
    """The name of a NodeDef's operation, with the attribute that it is not checked with: none of `CHECKED` then."""
    attribute, value = ON_CONDITION.get(node.op, ("", 0))
    given: int = node.attr[attribute].i if attribute in node.attr else value
    return str(node.op) if given == value else f"{node.op} with {attribute}={given}"
