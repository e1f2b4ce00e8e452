"""Names taken from Keras: moved, gone, from two places, or better taken from Sightline."""

from __future__ import annotations

import pytest
from judged import Read, codes, mended, the

OURS = "sightline.preprocessing.image"
GENERATORS = [
    ("from keras.preprocessing.image import ImageDataGenerator\nImageDataGenerator()",
     f"from {OURS} import ImageDataGenerator\nImageDataGenerator()"),
    ("from tensorflow.keras.preprocessing.image import ImageDataGenerator, load_img as load",
     f"from {OURS} import ImageDataGenerator, load_img as load"),
    ("from keras_preprocessing.image import DirectoryIterator, list_pictures",
     f"from {OURS} import DirectoryIterator, list_pictures"),
    ("from tensorflow.python.keras.preprocessing.image import ImageDataGenerator as Gen",
     f"from {OURS} import ImageDataGenerator as Gen"),
    ("from tensorflow.contrib.keras.api.keras.preprocessing.image import ImageDataGenerator",
     f"from {OURS} import ImageDataGenerator"),
    ("from keras.src.legacy.preprocessing.image import ImageDataGenerator",
     f"from {OURS} import ImageDataGenerator"),
    ("import keras.preprocessing.image as kpi\nkpi.ImageDataGenerator()",
     f"import {OURS} as kpi\nkpi.ImageDataGenerator()"),
    ("from keras.preprocessing import image\nimage.ImageDataGenerator()\nimage.load_img(p)",
     "from sightline.preprocessing import image\nimage.ImageDataGenerator()\nimage.load_img(p)"),
    ("from keras.preprocessing import image, sequence\nimage.random_shift(x, 1, 1)",
     "from keras.preprocessing import sequence\nfrom sightline.preprocessing import image\n"
     "image.random_shift(x, 1, 1)"),
    ("import tensorflow as tf\ng = tf.keras.preprocessing.image.ImageDataGenerator(rescale=2)",
     f"import tensorflow as tf\nfrom {OURS} import ImageDataGenerator\n"
     "g = ImageDataGenerator(rescale=2)"),
    ("import keras\ng = keras.preprocessing.image.ImageDataGenerator()",
     f"import keras\nfrom {OURS} import ImageDataGenerator\ng = ImageDataGenerator()"),
    ("from keras import preprocessing\ng = preprocessing.image.ImageDataGenerator()",
     f"from keras import preprocessing\nfrom {OURS} import ImageDataGenerator\n"
     "g = ImageDataGenerator()"),
    ("from keras.preprocessing.image import *\nImageDataGenerator()",
     f"from {OURS} import *\nImageDataGenerator()"),
    ("import keras.preprocessing.image\ng = keras.preprocessing.image.ImageDataGenerator()",
     f"import keras.preprocessing.image\nfrom {OURS} import ImageDataGenerator\n"
     "g = ImageDataGenerator()"),
    ("try:\n    from keras.preprocessing.image import ImageDataGenerator  # old\nexcept E: pass",
     f"try:\n    from {OURS} import ImageDataGenerator  # old\nexcept E: pass"),
    ("def f():\n\tfrom keras.preprocessing.image import (ImageDataGenerator,\n\t\tload_img)",
     f"def f():\n\tfrom {OURS} import (ImageDataGenerator,\n\t\tload_img)"),
    ("import os; from keras.preprocessing.image import ImageDataGenerator",
     f"import os; from {OURS} import ImageDataGenerator"),
]  # fmt: skip
MOVED = [
    ("from keras.layers.normalization import BatchNormalization",
     "from keras.layers import BatchNormalization"),
    ("from keras.layers.normalization.batch_normalization import BatchNormalization",
     "from keras.layers import BatchNormalization"),
    ("from keras.layers.core import Dense, Dropout as Drop",
     "from keras.layers import Dense, Dropout as Drop"),
    ("from keras.layers.advanced_activations import PReLU", "from keras.layers import PReLU"),
    ("from keras.layers.convolutional import *", "from keras.layers import *"),
    ("from keras.layers.merge import concatenate", "from keras.layers import concatenate"),
    ("from keras.engine.topology import Layer", "from keras.layers import Layer"),
    ("from keras.engine import Model", "from keras.models import Model"),
    ("from tensorflow.keras.layers.experimental.preprocessing import Rescaling",
     "from tensorflow.keras.layers import Rescaling"),
    ("from tensorflow.keras.layers.experimental import preprocessing",
     "from tensorflow.keras import layers as preprocessing"),
    ("from keras.utils import np_utils\nnp_utils.to_categorical(y)",
     "from keras import utils as np_utils\nnp_utils.to_categorical(y)"),
    ("from keras.utils import plot_model, np_utils",
     "from keras.utils import plot_model\nfrom keras import utils as np_utils"),
    ("from keras.utils.np_utils import to_categorical", "from keras.utils import to_categorical"),
    ("from keras.utils.vis_utils import plot_model", "from keras.utils import plot_model"),
    ("import keras.layers.core as core", "import keras.layers as core"),
    ("import keras.layers.core\nkeras.layers.core.Dense(1)",
     "import keras.layers\nkeras.layers.Dense(1)"),
    ("from keras.optimizers.legacy import Adam", "from keras.optimizers import Adam"),
    ("import keras\nkeras.optimizers.legacy.Adam()", "import keras\nkeras.optimizers.Adam()"),
    ("from keras.optimizers import adam", "from keras.optimizers import Adam as adam"),
    ("from keras.constraints import maxnorm", "from keras.constraints import max_norm as maxnorm"),
    ("from keras.objectives import mse", "from keras.losses import mse"),
]  # fmt: skip
GONE = [
    "from keras.layers import CuDNNLSTM",
    "from keras.layers import merge",
    "from keras.models import model_from_yaml",
    "from keras.utils import multi_gpu_model",
    "from keras.wrappers.scikit_learn import KerasClassifier",
    "from keras.preprocessing.text import Tokenizer",
    "from keras import backend as K\nK.set_image_dim_ordering('th')",
    "from keras import backend as K\nK.mean(x)",
    "import keras.backend as K\nK.get_session()",
    "from tensorflow.keras import backend as K\nK.set_session(s)",
    "from keras.backend.tensorflow_backend import set_session",
    "import tensorflow as tf, keras\ntf.set_random_seed(1)",
    "import tensorflow as tf, keras\nwith tf.Session() as s: pass",
]
FINE = [
    "from keras.preprocessing.image import load_img, img_to_array",
    "from keras.preprocessing import image\nimage.load_img(p)",
    "from keras.preprocessing.image import *\nload_img(p)",
    "from keras.preprocessing.sequence import pad_sequences",
    "from keras import backend as K\nK.clear_session()\nK.image_data_format()",
    "from tensorflow.keras import backend as K\nK.mean(x)",
    "from tensorflow.keras.preprocessing.text import Tokenizer",
    "import keras\nkeras.wrappers.SKLearnClassifier(m)",
    "from sightline.preprocessing.image import ImageDataGenerator\nimport keras",
    "import sightline.preprocessing.image as image\nimage.ImageDataGenerator()\nimport keras",
    "import keras\nfrom .layers.core import Dense\nfrom mine.layers.core import Flatten",
    "import tensorflow as tf\ntf.keras.layers.Dense(1)\ntf.random.set_seed(1)",
]


@pytest.mark.parametrize(("old", "new"), GENERATORS)
def test_generators_are_taken_from_sightline(read: Read, old: str, new: str) -> None:
    adoption = read(old + "\n")
    assert codes(adoption) == ["image-generator-import"]
    assert mended(adoption) == new + "\n"
    assert codes(read(new + "\n")) == []


@pytest.mark.parametrize(
    ("module", "severity"),
    [("keras", "error"), ("tensorflow.keras", "warning"), ("tensorflow.python.keras", "error")],
)
def test_only_an_import_that_fails_is_an_error(read: Read, module: str, severity: str) -> None:
    adoption = read(f"from {module}.preprocessing.image import ImageDataGenerator\n")
    assert the(adoption, "image-generator-import").severity == severity


@pytest.mark.parametrize(("old", "new"), MOVED)
def test_moved_names_are_mended(read: Read, old: str, new: str) -> None:
    adoption = read(old + "\n")
    assert set(codes(adoption)) == {"moved-name"}
    assert mended(adoption) == new + "\n"
    assert "moved-name" not in codes(read(new + "\n"))


@pytest.mark.parametrize("code", GONE)
def test_names_that_are_gone_are_told_and_left(read: Read, code: str) -> None:
    adoption = read(code + "\n")
    assert codes(adoption) == ["removed-name"]
    assert adoption.findings[0].severity == "error"
    assert adoption.mended is None


@pytest.mark.parametrize("code", FINE)
def test_names_that_keras_3_has_are_not_found(read: Read, code: str) -> None:
    assert codes(read(code + "\n")) == []


def test_a_private_keras_becomes_the_public_one(read: Read) -> None:
    adoption = read("from tensorflow.python.keras.models import Sequential\n")
    assert codes(adoption) == ["private-module"]
    assert mended(adoption) == "from tensorflow.keras.models import Sequential\n"


def test_keras_from_two_places_comes_from_one(read: Read) -> None:
    code = (
        "import tensorflow as tf\n"
        "from tensorflow.keras.models import Sequential\n"
        "from keras.layers import Dense\n"
        "from tensorflow import keras\n"
        "m = Sequential([Dense(1), tf.keras.layers.Flatten(), keras.layers.Dropout(0.1)])\n"
    )
    adoption = read(code)
    assert codes(adoption) == ["mixed-imports"]
    assert adoption.findings[0].evidence["line"] == 2
    assert mended(adoption) == (
        "import tensorflow as tf\n"
        "from keras.models import Sequential\n"
        "from keras.layers import Dense\n"
        "import keras\n"
        "m = Sequential([Dense(1), keras.layers.Flatten(), keras.layers.Dropout(0.1)])\n"
    )


def test_a_written_out_keras_gets_its_import(read: Read) -> None:
    code = "import tensorflow as tf\nfrom keras.layers import Dense\ntf.keras.Sequential()\n"
    assert mended(read(code)) == (
        "import tensorflow as tf\nfrom keras.layers import Dense\nimport keras\n"
        "keras.Sequential()\n"
    )


def test_names_that_only_tensorflow_has_keep_the_program_as_it_is(read: Read) -> None:
    code = "from keras.layers import Dense\nfrom tensorflow.keras import backend as K\nK.mean(x)\n"
    adoption = read(code)
    assert codes(adoption) == ["mixed-imports"]
    assert "change those by hand" in adoption.findings[0].advice
    assert adoption.mended is None


@pytest.mark.parametrize("module", ["keras", "tensorflow.keras"])
def test_one_keras_is_not_mixed(read: Read, module: str) -> None:
    code = f"from {module}.layers import Dense\nfrom {module} import models\n"
    assert codes(read(code)) == []


def test_a_moved_name_of_a_mixed_program_goes_to_keras_at_once(read: Read) -> None:
    code = (
        "from keras.models import Sequential\n"
        "from tensorflow.keras.layers.experimental.preprocessing import Rescaling\n"
    )
    adoption = read(code)
    assert set(codes(adoption)) == {"mixed-imports", "moved-name"}
    assert mended(adoption).endswith("from keras.layers import Rescaling\n")


def test_names_of_a_function_do_not_leak(read: Read) -> None:
    code = "import keras\ndef f(tf):\n    return tf.Session()\nimport tensorflow as tf\n"
    assert codes(read(code)) == []
