"""Operators that an encoder graph may use: what audio encoders need, and nothing that surprises.

Left out on purpose: random numbers (Dropout, RandomNormal, Bernoulli, Multinomial), endless
computation (Loop, If), strings, sequences, optionals and maps, whose results or costs do not
follow from the waveform alone.
"""

_ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr
    BitwiseXor Cast CastLike Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater
    GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max
    Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin
    Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
"""

_SHAPING = """
    Compress Concat Constant ConstantOfShape DepthToSpace Expand EyeLike Flatten Gather
    GatherElements GatherND OneHot Pad Range Reshape Resize ReverseSequence ScatterElements
    ScatterND Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze Upsample
"""

_REDUCTION = """
    ArgMax ArgMin CumSum GlobalAveragePool GlobalLpPool GlobalMaxPool LogSoftmax LpNormalization
    LpPool AveragePool MaxPool ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare Softmax Hardmax TopK
"""

_LAYER = """
    Attention BatchNormalization Conv ConvTranspose Einsum GRU Gemm GroupNormalization
    InstanceNormalization LRN LSTM LayerNormalization MatMul MeanVarianceNormalization
    RMSNormalization RNN RotaryEmbedding Scan SimplifiedLayerNormalization
"""

_SIGNAL = "BlackmanWindow DFT HammingWindow HannWindow MelWeightMatrix STFT"

_QUANTISED = """
    ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul
    QuantizeLinear
"""

STANDARD = frozenset(
    " ".join([_ELEMENTWISE, _SHAPING, _REDUCTION, _LAYER, _SIGNAL, _QUANTISED]).split()
)
"""Of the domain ``ai.onnx``, which is also written as the empty text.

SimplifiedLayerNormalization stands here because onnxruntime writes its fusion in that domain.
"""

_FUSED = """
    Attention BiasGelu DequantizeLinear DynamicQuantizeLSTM DynamicQuantizeMatMul FastGelu
    FusedConv FusedGemm FusedMatMul FusedMatMulActivation Gelu LayerNormalization
    MatMulIntegerToFloat MultiHeadAttention NhwcMaxPool QAttention QGemm QLinearAdd
    QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu
    QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere QuantizeLinear
    QuickGelu SimplifiedLayerNormalization SkipLayerNormalization
    SkipSimplifiedLayerNormalization TransposeMatMul
"""

MICROSOFT = frozenset(_FUSED.split())
"""Of the domain ``com.microsoft``: what onnxruntime writes when it optimises a graph offline."""

CPU_DEPENDENT = frozenset({"MatMulBnb4", "MatMulFpQ4", "MatMulNBits", "GatherBlockQuantized"})
"""Refused by name: their accumulation, hence their result, changes with the CPU."""

ALLOWED = {"": STANDARD, "ai.onnx": STANDARD, "com.microsoft": MICROSOFT}
