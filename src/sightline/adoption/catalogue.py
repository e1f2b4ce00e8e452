"""What Keras 2 had and Keras 3 has not: names, modules and arguments.

Read off Keras 3.15.1 and TensorFlow 2.21 by running them; a test asks the installed Keras again.
Names are canonical: `tensorflow.keras`, `tf.keras` and `keras.api` are written `keras`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

IMAGE_MODULE = "keras.preprocessing.image"
OUR_MODULE = "sightline.preprocessing.image"

# What `keras.preprocessing.image` still exports.
IMAGE_NAMES_LEFT = frozenset(
    {"array_to_img", "img_to_array", "load_img", "save_img", "smart_resize"}
)
OUR_IMAGE_NAMES = IMAGE_NAMES_LEFT | {
    "DataFrameIterator",
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "enable_keras2_methods",
    "evaluate_generator",
    "fit_generator",
    "flip_axis",
    "list_pictures",
    "predict_generator",
    "random_brightness",
    "random_channel_shift",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_zoom",
    "transform_matrix_offset_center",
}

# A longer name before a shorter one that begins it.
CANONICAL_ROOTS: tuple[tuple[str, str], ...] = (
    ("tensorflow.python.keras.api._v2.keras", "keras"),
    ("tensorflow.python.keras", "keras"),
    ("tensorflow.contrib.keras.api.keras", "keras"),
    ("tensorflow.contrib.keras", "keras"),
    ("tensorflow.compat.v2.keras", "keras"),
    ("tensorflow.keras", "keras"),
    ("tf_keras", "keras"),
    ("keras.api", "keras"),
    ("keras._tf_keras.keras", "keras"),
    ("keras.src.legacy.preprocessing.image", IMAGE_MODULE),
    ("keras_preprocessing", "keras.preprocessing"),
    (OUR_MODULE, IMAGE_MODULE),
    ("sightline.preprocessing", "keras.preprocessing"),
)
# Roots that were never public, or are gone; what is written instead.
PRIVATE_ROOTS: Mapping[str, str] = {
    "tensorflow.python.keras": "tensorflow.keras",
    "tensorflow.contrib.keras": "tensorflow.keras",
    "keras.api": "keras",
}

MOVED_MODULES: Mapping[str, str] = {
    "keras.callbacks.callbacks": "keras.callbacks",
    "keras.engine": "keras.layers",
    "keras.engine.base_layer": "keras.layers",
    "keras.engine.input_layer": "keras.layers",
    "keras.engine.sequential": "keras.models",
    "keras.engine.topology": "keras.layers",
    "keras.engine.training": "keras.models",
    "keras.layers.advanced_activations": "keras.layers",
    "keras.layers.convolutional": "keras.layers",
    "keras.layers.convolutional_recurrent": "keras.layers",
    "keras.layers.core": "keras.layers",
    "keras.layers.embeddings": "keras.layers",
    "keras.layers.experimental.preprocessing": "keras.layers",
    "keras.layers.merge": "keras.layers",
    "keras.layers.noise": "keras.layers",
    "keras.layers.normalization": "keras.layers",
    "keras.layers.pooling": "keras.layers",
    "keras.layers.recurrent": "keras.layers",
    "keras.layers.wrappers": "keras.layers",
    "keras.objectives": "keras.losses",
    "keras.optimizers.adam_v2": "keras.optimizers",
    "keras.optimizers.gradient_descent_v2": "keras.optimizers",
    "keras.optimizers.legacy": "keras.optimizers",
    "keras.optimizers.rmsprop_v2": "keras.optimizers",
    "keras.utils.data_utils": "keras.utils",
    "keras.utils.generic_utils": "keras.utils",
    "keras.utils.np_utils": "keras.utils",
    "keras.utils.vis_utils": "keras.utils",
}

RENAMED_NAMES: Mapping[str, str] = {
    "keras.constraints.maxnorm": "keras.constraints.max_norm",
    "keras.constraints.nonneg": "keras.constraints.non_neg",
    "keras.constraints.unitnorm": "keras.constraints.unit_norm",
    "keras.engine.Model": "keras.models.Model",
    "keras.initializers.normal": "keras.initializers.RandomNormal",
    "keras.initializers.uniform": "keras.initializers.RandomUniform",
    "keras.layers.Deconvolution2D": "keras.layers.Conv2DTranspose",
    "keras.models.Input": "keras.layers.Input",
    "keras.optimizers.adam": "keras.optimizers.Adam",
    "keras.optimizers.rmsprop": "keras.optimizers.RMSprop",
    "keras.optimizers.sgd": "keras.optimizers.SGD",
    "keras.regularizers.l1l2": "keras.regularizers.l1_l2",
}

_OPS = "Use keras.ops instead."
_SESSION = "Remove it: there are no sessions since TensorFlow 2."
REMOVED_NAMES: Mapping[str, str] = {
    "keras.backend.function": "Use keras.Model(inputs, outputs) instead.",
    "keras.backend.get_session": _SESSION,
    "keras.backend.get_value": "Use keras.ops.convert_to_numpy instead.",
    "keras.backend.gradients": "Use the gradients of the backend: tf.GradientTape with TensorFlow.",
    "keras.backend.image_dim_ordering": "Use keras.config.image_data_format() instead.",
    "keras.backend.learning_phase": "Give layers training=True or False instead.",
    "keras.backend.set_image_dim_ordering": "Use keras.config.set_image_data_format instead.",
    "keras.backend.set_learning_phase": "Give layers training=True or False instead.",
    "keras.backend.set_session": _SESSION,
    "keras.backend.set_value": "Use variable.assign(value) instead.",
    "keras.backend.tensorflow_backend": _SESSION,
    "keras.callbacks.BaseLogger": "Remove it: Keras keeps the averages itself.",
    "keras.layers.AtrousConvolution2D": "Use Conv2D(dilation_rate=...) instead.",
    "keras.layers.CuDNNGRU": "Use GRU: it takes the fast kernel by itself.",
    "keras.layers.CuDNNLSTM": "Use LSTM: it takes the fast kernel by itself.",
    "keras.layers.Highway": "Write it as a small layer of your own.",
    "keras.layers.LocallyConnected1D": "Use Conv1D, or write a layer of your own.",
    "keras.layers.LocallyConnected2D": "Use Conv2D, or write a layer of your own.",
    "keras.layers.MaxoutDense": "Write it as a small layer of your own.",
    "keras.layers.Merge": "Use the functional way with concatenate, add or multiply.",
    "keras.layers.TimeDistributedDense": "Use TimeDistributed(Dense(...)) instead.",
    "keras.layers.merge": "Use concatenate, add or multiply of keras.layers.",
    "keras.models.model_from_config": "Use Model.from_config instead.",
    "keras.models.model_from_yaml": "Use model_from_json instead.",
    "keras.preprocessing.text": "Use keras.layers.TextVectorization instead.",
    "keras.regularizers.WeightRegularizer": "Use keras.regularizers.L1L2 instead.",
    "keras.regularizers.activity_l2": "Use keras.regularizers.l2 as activity_regularizer.",
    "keras.utils.HDF5Matrix": "Read the file with h5py, and feed it through keras.utils.PyDataset.",
    "keras.utils.convert_all_kernels_in_model": "Remove it.",
    "keras.utils.io_utils": "Read the file with h5py, and feed it through keras.utils.PyDataset.",
    "keras.utils.layer_utils": "Use model.summary() or model.count_params() instead.",
    "keras.utils.multi_gpu_model": "Use tf.distribute.MirroredStrategy or keras.distribution.",
    "keras.utils.print_summary": "Use model.summary() instead.",
    "keras.wrappers.scikit_learn": "Use keras.wrappers.SKLearnClassifier, or the package scikeras.",
}
# Gone from keras.backend, and still under tensorflow.keras.
LEFT_IN_TENSORFLOW = frozenset(
    {"keras.backend.get_value", "keras.backend.gradients", "keras.backend.set_value"}
)
# The rest of keras.backend is only under tensorflow.keras.
BACKEND_NAMES_LEFT = frozenset({
    "backend", "clear_session", "common", "config", "epsilon", "floatx", "get_uid",
    "image_data_format", "is_float_dtype", "is_int_dtype", "is_keras_tensor", "random",
    "result_type", "set_epsilon", "set_floatx", "set_image_data_format", "standardize_dtype",
})  # fmt: skip
BACKEND_ADVICE = _OPS
TENSORFLOW_ADVICE = "Only tensorflow.keras has it; write it without, if you can."
# Under tensorflow.keras, and nowhere under keras.
ONLY_IN_TENSORFLOW = frozenset({
    "keras.layers.RandomHeight", "keras.layers.RandomWidth", "keras.layers.ThresholdedReLU",
    "keras.losses.KLD", "keras.losses.MAE", "keras.losses.MAPE", "keras.losses.MSE",
    "keras.losses.MSLE", "keras.losses.Reduction", "keras.losses.kld", "keras.losses.logcosh",
    "keras.losses.mae", "keras.losses.mape", "keras.losses.mse", "keras.losses.msle",
    "keras.metrics.KLD", "keras.metrics.MAE", "keras.metrics.MAPE", "keras.metrics.MSE",
    "keras.metrics.MSLE", "keras.metrics.mae", "keras.metrics.mse",
    "keras.preprocessing.sequence.TimeseriesGenerator", "keras.preprocessing.text",
})  # fmt: skip

_COMPAT = "It is TensorFlow 1's; nothing in Keras 3 needs it. Remove it."
REMOVED_FROM_TENSORFLOW: Mapping[str, str] = {
    "tensorflow.ConfigProto": "Use tf.config.experimental.set_memory_growth, or remove it.",
    "tensorflow.GPUOptions": "Use tf.config.experimental.set_memory_growth, or remove it.",
    "tensorflow.InteractiveSession": _COMPAT,
    "tensorflow.Session": _COMPAT,
    "tensorflow.contrib": _COMPAT,
    "tensorflow.get_default_graph": _COMPAT,
    "tensorflow.global_variables_initializer": _COMPAT,
    "tensorflow.logging": "Use the variable TF_CPP_MIN_LOG_LEVEL, or tf.get_logger().",
    "tensorflow.placeholder": _COMPAT,
    "tensorflow.reset_default_graph": "Use keras.utils.clear_session instead.",
    "tensorflow.set_random_seed": "Use keras.utils.set_random_seed instead.",
}

OPTIMIZERS = frozenset(
    {"Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Nadam", "RMSprop", "SGD"}
)
_CONVOLUTION = {
    "W_constraint": "kernel_constraint",
    "W_regularizer": "kernel_regularizer",
    "b_constraint": "bias_constraint",
    "b_regularizer": "bias_regularizer",
    "bias": "use_bias",
    "border_mode": "padding",
    "dim_ordering": "data_format",
    "init": "kernel_initializer",
    "nb_filter": "filters",
    "subsample": "strides",
}
_POOLING = {"border_mode": "padding", "dim_ordering": "data_format"}
# By the last part of the called name; for layers, arguments of Keras 1.
RENAMED_ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    **{name: {"lr": "learning_rate"} for name in OPTIMIZERS},
    "Conv1D": {**_CONVOLUTION, "filter_length": "kernel_size", "subsample_length": "strides"},
    "Conv2D": _CONVOLUTION,
    "Conv2DTranspose": _CONVOLUTION,
    "Conv3D": _CONVOLUTION,
    "Convolution1D": {**_CONVOLUTION, "filter_length": "kernel_size"},
    "Convolution2D": _CONVOLUTION,
    "Convolution3D": _CONVOLUTION,
    "SeparableConv2D": _CONVOLUTION,
    "SeparableConvolution2D": _CONVOLUTION,
    "AveragePooling2D": _POOLING,
    "GlobalAveragePooling2D": _POOLING,
    "GlobalMaxPooling2D": _POOLING,
    "MaxPool2D": _POOLING,
    "MaxPooling2D": _POOLING,
    "UpSampling2D": _POOLING,
    "ZeroPadding2D": _POOLING,
    "BatchNormalization": {"beta_init": "beta_initializer", "gamma_init": "gamma_initializer"},
    "Dense": {
        "W_constraint": "kernel_constraint",
        "W_regularizer": "kernel_regularizer",
        "b_constraint": "bias_constraint",
        "b_regularizer": "bias_regularizer",
        "bias": "use_bias",
        "init": "kernel_initializer",
        "output_dim": "units",
    },
    "Dropout": {"p": "rate"},
    "LeakyReLU": {"alpha": "negative_slope"},
    "Model": {"input": "inputs", "output": "outputs"},
    "l1": {"l": "l1"},
    "l2": {"l": "l2"},
    "to_categorical": {"nb_classes": "num_classes"},
}
STILL_ACCEPTED = frozenset({("LeakyReLU", "alpha")})  # with a warning
ORDERINGS = {"tf": "channels_last", "th": "channels_first"}

# Keras 2's three, then Keras 1's names for them.
WORKER_ARGUMENTS = (
    "workers", "use_multiprocessing", "max_queue_size", "nb_worker", "pickle_safe", "max_q_size",
)  # fmt: skip
REMOVED_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "BatchNormalization": ("mode",),
    "TensorBoard": ("batch_size", "embeddings_layer_names", "write_grads"),
}

_LONGEST_FIRST = sorted(MOVED_MODULES.items(), key=lambda item: -len(item[0]))


def rooted(dotted: str) -> str:
    """Return a dotted name with Keras' root written one way: "tensorflow.keras.X" is "keras.X"."""
    for root, name in CANONICAL_ROOTS:
        if within(dotted, root):
            return name + dotted[len(root) :]
    return dotted


def modern(dotted: str) -> str:
    """Return where Keras 3 has what a rooted name was, as far as it has it."""
    dotted = _renamed(dotted)
    for old, new in _LONGEST_FIRST:
        if not dotted.startswith(old + "."):
            continue
        first, _, rest = dotted[len(old) + 1 :].partition(".")
        inner = first.islower() and rest[:1].isupper()  # a file of the module, then the name
        return _renamed(f"{new}.{rest if inner else dotted[len(old) + 1 :]}")
    return MOVED_MODULES.get(dotted, dotted)


def _renamed(dotted: str) -> str:
    for old, new in RENAMED_NAMES.items():
        if within(dotted, old):
            return new + dotted[len(old) :]
    return dotted


@functools.lru_cache(maxsize=4096)
def canonical(dotted: str) -> str:
    """Return a dotted name as Keras 3 writes it, as far as it has it."""
    if not dotted:
        return ""
    return modern(rooted(dotted))


def within(dotted: str, root: str) -> bool:
    """Return whether a dotted name is a root or lies under it."""
    return dotted == root or dotted.startswith(root + ".")
