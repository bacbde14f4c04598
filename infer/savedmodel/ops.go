package savedmodel

// The operations that a graph may use, by TensorFlow's names.

import "strings"

// set makes a set of words.
func set(words string) map[string]bool {
	s := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		s[w] = true
	}
	return s
}

// ops are what networks are made of, and what decodes their answers: arithmetic on
// tensors, without a way out of the process.
var ops = set(`
	Const Placeholder PlaceholderWithDefault Identity IdentityN NoOp StopGradient PreventGradient Snapshot EnsureShape
	PartitionedCall StatefulPartitionedCall If StatelessIf While StatelessWhile Case StatelessCase
	Switch RefSwitch Merge RefMerge Enter RefEnter Exit RefExit NextIteration RefNextIteration LoopCond ControlTrigger Assert CheckNumerics
	CheckNumericsV2 VarHandleOp ReadVariableOp VarIsInitializedOp Variable VariableV2 _Arg _Retval _DeviceArg _DeviceRetval

	Conv Conv2D Conv2DBackpropInput Conv3D DepthwiseConv2dNative DepthwiseConv2dNativeBackpropInput Dilation2D MatMul
	BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum BiasAdd BiasAddV1 FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 BatchNormWithGlobalNormalization
	LRN L2Loss MaxPool MaxPoolV2 MaxPoolWithArgmax MaxPool3D AvgPool AvgPool3D FractionalMaxPool FractionalAvgPool
	_FusedConv2D _FusedMatMul _FusedBatchNormEx

	Relu Relu6 LeakyRelu Elu Selu Softplus Softsign Softmax LogSoftmax Sigmoid Tanh
	Add AddV2 AddN AccumulateNV2 Sub Mul MulNoNan Div DivNoNan RealDiv FloorDiv TruncateDiv Mod FloorMod TruncateMod Xdivy Xlogy
	Maximum Minimum Pow Square SquaredDifference Sqrt Rsqrt Reciprocal Inv Exp Expm1 Log Log1p Erf Erfc Erfinv Lgamma Digamma
	Abs Neg Sign Floor Ceil Round Rint Sin Cos Tan Asin Acos Atan Atan2 Sinh Cosh Asinh Acosh Atanh ClipByValue
	Equal NotEqual ApproximateEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr LogicalNot IsNan IsInf IsFinite
	BitwiseAnd BitwiseOr BitwiseXor Invert LeftShift RightShift Select SelectV2 Where

	Mean Sum Prod Max Min All Any EuclideanNorm ArgMax ArgMin TopK TopKV2 Cumsum Cumprod Bincount DenseBincount
	SegmentSum SegmentMean SegmentMax UnsortedSegmentSum UnsortedSegmentMax InTopK InTopKV2 Histogram
	Shape ShapeN Size Rank Reshape Squeeze ExpandDims Transpose ConjugateTranspose InvertPermutation Reverse ReverseV2 ReverseSequence Roll
	Pack Unpack ParallelConcat Concat ConcatV2 ConcatOffset Split SplitV Slice StridedSlice TensorStridedSliceUpdate
	Gather GatherV2 GatherNd ResourceGather ResourceGatherNd ScatterNd TensorScatterUpdate TensorScatterAdd TensorScatterMax TensorScatterMin
	Tile BroadcastTo BroadcastArgs Fill ZerosLike OnesLike Range LinSpace OneHot Diag DiagPart MatrixDiag MatrixDiagV2 MatrixDiagV3 MatrixDiagPart
	MatrixBandPart Pad PadV2 MirrorPad Cast Bitcast Unique UniqueV2 Meshgrid
	SpaceToDepth DepthToSpace SpaceToBatch SpaceToBatchND BatchToSpace BatchToSpaceND ExtractImagePatches
	ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea CropAndResize ScaleAndTranslate AdjustContrastv2 AdjustHue AdjustSaturation
	RGBToHSV HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3
	NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps
	CombinedNonMaxSuppression

	FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel QuantizeAndDequantize QuantizeAndDequantizeV2
	QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 Quantize QuantizeV2 Dequantize UniformQuantize UniformDequantize Requantize
	TensorListReserve TensorListFromTensor TensorListStack TensorListGetItem TensorListSetItem TensorListLength TensorListPushBack
	TensorListPopBack TensorListElementShape TensorListGather TensorListConcatV2 EmptyTensorList
	TensorArrayV3 TensorArrayWriteV3 TensorArrayReadV3 TensorArrayGatherV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArrayCloseV3
`)

// loadOps are what TensorFlow's loader runs beside these, once, to bring the variables
// in. It names the files itself, those of the model; a worker in its cage can read no
// others.
var loadOps = set(`
	RestoreV2 Restore RestoreSlice SaveV2 MergeV2Checkpoints ShardedFilename ShardedFilespec StringJoin StaticRegexFullMatch
	AssignVariableOp Assign AssignAddVariableOp DisableCopyOnRead
	RandomUniform RandomStandardNormal TruncatedNormal RandomUniformInt
`)
