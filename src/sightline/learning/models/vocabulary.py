"""The classes and functions that a model file from elsewhere may name: Keras' own for images.

Left out are those that run code, read files, load other models or take text: Lambda, TFSMLayer,
StringLookup, TextVectorization, JaxLayer and their kind.
"""

from __future__ import annotations

_LAYERS = """
Activation ActivityRegularization AdaptiveAveragePooling2D AdaptiveMaxPooling2D Add
AdditiveAttention AlphaDropout Attention Average AveragePooling1D AveragePooling2D
BatchNormalization CenterCrop Concatenate Conv1D Conv2D Conv2DTranspose Cropping2D Dense
DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten GaussianDropout GaussianNoise
GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D
GroupNormalization GroupQueryAttention Identity InputLayer LayerNormalization LeakyReLU Maximum
MaxPooling1D MaxPooling2D Minimum MultiHeadAttention Multiply Normalization PReLU Permute
RMSNormalization RandomBrightness RandomContrast RandomCrop RandomErasing RandomFlip RandomHue
RandomRotation RandomSaturation RandomShear RandomTranslation RandomZoom ReLU RepeatVector
Rescaling Reshape Resizing SeparableConv1D SeparableConv2D Softmax SpatialDropout1D
SpatialDropout2D SpectralNormalization Subtract UnitNormalization UpSampling2D ZeroPadding2D
"""
# Of networks of keras.applications: ConvNeXt, Inception-ResNet.
_APPLICATIONS = "CustomScaleLayer LayerScale StochasticDepth"
_MODELS = "Functional Model Sequential DTypePolicy Policy"
_PARTS = """
Constant GlorotNormal GlorotUniform HeNormal HeUniform IdentityInitializer LecunNormal
LecunUniform Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal
VarianceScaling Zeros L1 L1L2 L2 OrthogonalRegularizer MaxNorm MinMaxNorm NonNeg UnitNorm
"""
_OPERATIONS = """
Absolute Cast Clip Divide Elu Exp ExpandDims Flip Gelu GetItem HardSigmoid HardSilu LeakyRelu
Log Matmul Max Mean Min Negative Power Relu Relu6 Rsqrt Selu Sigmoid Silu Softplus Sqrt Square
Squeeze Stack Std Sum Tanh Transpose TrueDivide Var
"""
CLASSES = frozenset(f"{_LAYERS} {_APPLICATIONS} {_MODELS} {_PARTS} {_OPERATIONS}".split())
SPECIAL = frozenset(("__keras_tensor__", "__slice__", "__ellipsis__"))
_ACTIVATIONS = """
elu exponential gelu hard_sigmoid hard_silu hard_swish leaky_relu linear mish relu relu6 selu
sigmoid silu softmax softplus softsign swish tanh
"""
FUNCTIONS = frozenset(_ACTIVATIONS.split())
