"""Methods, arguments and names of metrics that Keras 3 has no more."""

from __future__ import annotations

import pytest
from judged import FEED, Read, codes, mended, the

L = "from keras.layers import *\n"
# (old line, new line) after its imports
RENAMED = [
    ("from keras.optimizers import Adam\n", "Adam(lr=1e-3)", "Adam(learning_rate=1e-3)"),
    ("from keras import optimizers\n", "optimizers.SGD(lr=0.1, momentum=0.9)",
     "optimizers.SGD(learning_rate=0.1, momentum=0.9)"),
    ("import tensorflow as tf\n", "tf.keras.optimizers.RMSprop(lr = 2e-5)",
     "tf.keras.optimizers.RMSprop(learning_rate = 2e-5)"),
    (L, "Convolution2D(32, (3, 3), border_mode='same', subsample=(2, 2))",
     "Convolution2D(32, (3, 3), padding='same', strides=(2, 2))"),
    (L, "Conv2D(32, 3, dim_ordering='tf')", "Conv2D(32, 3, data_format=\"channels_last\")"),
    (L, "Dense(output_dim=128, init='uniform', bias=False)",
     "Dense(units=128, kernel_initializer='uniform', use_bias=False)"),
    (L, "Dense(4, W_regularizer=None, b_regularizer=None)",
     "Dense(4, kernel_regularizer=None, bias_regularizer=None)"),
    (L, "Dropout(p=0.5)", "Dropout(rate=0.5)"),
    (L, "LeakyReLU(alpha=0.1)", "LeakyReLU(negative_slope=0.1)"),
    ("from keras.regularizers import l2\n", "l2(l=0.1)", "l2(l2=0.1)"),
    ("from keras.models import Model\n", "Model(input=a, output=b)", "Model(inputs=a, outputs=b)"),
    ("from keras.utils import to_categorical\n", "to_categorical(y, nb_classes=2)",
     "to_categorical(y, num_classes=2)"),
]  # fmt: skip
REMOVED = [
    ("from keras.callbacks import TensorBoard\n", 'TensorBoard("logs", write_grads=True)',
     'TensorBoard("logs")'),
    ("from keras.callbacks import TensorBoard\n",
     'TensorBoard(log_dir="logs",\n            batch_size=32,\n            write_graph=True)',
     'TensorBoard(log_dir="logs",\n            write_graph=True)'),
    (L, "BatchNormalization(mode=0, axis=1)", "BatchNormalization(axis=1)"),
    ("from keras.callbacks import ModelCheckpoint\n", 'ModelCheckpoint("a.keras", period=1)',
     'ModelCheckpoint("a.keras")'),
]  # fmt: skip


@pytest.mark.parametrize(("head", "old", "new"), RENAMED)
def test_renamed_arguments_are_found_and_mended(read: Read, head: str, old: str, new: str) -> None:
    adoption = read(f"{head}x = {old}  # why\n")
    assert set(codes(adoption)) == {"renamed-argument"}
    assert mended(adoption) == f"{head}x = {new}  # why\n"


@pytest.mark.parametrize(("head", "old", "new"), REMOVED)
def test_removed_arguments_are_found_and_mended(read: Read, head: str, old: str, new: str) -> None:
    adoption = read(f"{head}x = {old}\n")
    assert codes(adoption) == ["removed-argument"]
    assert mended(adoption) == f"{head}x = {new}\n"


@pytest.mark.parametrize(("head", "new"), [(head, new) for head, _, new in RENAMED + REMOVED])
def test_the_new_names_are_not_found(read: Read, head: str, new: str) -> None:
    assert codes(read(f"{head}x = {new}\n")) == []


def test_arguments_of_other_libraries_are_left_alone(read: Read) -> None:
    code = "import keras\nfrom mine import Adam, Dense\nAdam(lr=1)\nDense(3, init='x')\nf(lr=2)\n"
    assert codes(read(code)) == []


def test_an_unknown_dim_ordering_is_told_and_left(read: Read) -> None:
    adoption = read("from keras.layers import Conv2D\nConv2D(3, 3, dim_ordering=order())\n")
    assert codes(adoption) == ["renamed-argument"]
    assert adoption.mended is None


def test_a_period_of_several_epochs_is_for_a_person(read: Read) -> None:
    head = "from keras.callbacks import ModelCheckpoint\n"
    adoption = read(head + 'ModelCheckpoint("a.keras", period=5)\n')
    assert codes(adoption) == ["removed-argument"]
    assert adoption.mended is None


def test_a_decay_that_keras_ignores_comes_with_the_schedule_that_equals_it(read: Read) -> None:
    head = "from keras.optimizers import SGD\n"
    found = the(read(head + "SGD(learning_rate=0.1, decay=1e-6)\n"), "decay-ignored")
    assert found.severity == "error"
    assert "InverseTimeDecay(0.1, decay_steps=1, decay_rate=1e-06)" in found.advice


def test_a_decay_of_zero_is_removed(read: Read) -> None:
    adoption = read("from keras.optimizers import SGD\nSGD(0.1, decay=0.0)\n")
    assert the(adoption, "decay-ignored").severity == "info"
    assert mended(adoption).endswith("\nSGD(0.1)\n")


def test_rows_and_columns_of_keras_1_are_joined(read: Read) -> None:
    adoption = read(L + "model.add(Convolution2D(32, 3, 3, activation='relu'))\n")
    assert "3x3 kernel that moves by 3 pixels" in the(adoption, "convolution-size").title
    assert "Convolution2D(32, (3, 3), activation='relu')" in mended(adoption)


@pytest.mark.parametrize(
    "call", ["Conv2D(32, (3, 3), (2, 2))", "Conv2D(32, 3)", "Conv1D(32, 3, 2)"]
)
def test_kernels_and_strides_of_keras_2_are_right(read: Read, call: str) -> None:
    assert codes(read(f"{L}{call}\n")) == []


@pytest.mark.parametrize("name", ["workers", "use_multiprocessing", "max_queue_size"])
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_arguments_of_workers_are_removed(read: Read, method: str, name: str) -> None:
    adoption = read(f"{FEED}model.{method}(train, {name}=4, verbose=1)\n")
    assert the(adoption, "removed-argument").severity == "error"
    assert mended(adoption).endswith(f"model.{method}(train, verbose=1)\n")


def test_fit_of_something_else_is_left_alone(read: Read) -> None:
    code = FEED + "forest.fit(x, y, workers=4)\nplain.fit(x)\nscaler.predict(z, workers=2)\n"
    assert codes(read(code)) == []


@pytest.mark.parametrize("method", ["fit_generator", "evaluate_generator", "predict_generator"])
def test_generator_methods_become_functions(read: Read, method: str) -> None:
    adoption = read(f"{FEED}out = model.{method}(train, workers=4)\n")
    assert the(adoption, "generator-method").evidence["mended"]
    assert mended(adoption).endswith(f"out = {method}(model, train, workers=4)\n")
    assert f"import ImageDataGenerator, {method}\n" in mended(adoption)


def test_a_name_of_the_program_itself_is_not_shadowed(read: Read) -> None:
    code = FEED + "def fit_generator():\n    pass\nmodel.fit_generator(train)\n"
    text = mended(read(code))
    assert "import sightline.preprocessing.image as sightline_image\n" in text
    assert text.endswith("sightline_image.fit_generator(model, train)\n")


def test_methods_that_were_enabled_again_are_not_found(read: Read) -> None:
    code = FEED.replace(
        "import ImageDataGenerator", "import ImageDataGenerator, enable_keras2_methods"
    )
    assert codes(read(code + "enable_keras2_methods()\nmodel.fit_generator(train)\n")) == []


def test_names_of_keras_1_become_those_of_the_function(read: Read) -> None:
    adoption = read(FEED + "model.fit_generator(train, nb_epoch=3, nb_worker=2, max_q_size=5)\n")
    text = "fit_generator(model, train, epochs=3, workers=2, max_queue_size=5)\n"
    assert mended(adoption).endswith(text)


def test_samples_become_batches_where_the_generator_is_known(read: Read) -> None:
    adoption = read(
        FEED + "model.fit_generator(train, samples_per_epoch=2000, nb_epoch=3,\n"
        "    validation_data=val, nb_val_samples=800)\n"
    )
    text = mended(adoption)
    assert "fit_generator(model, train, steps_per_epoch=len(train), epochs=3,\n" in text
    assert "validation_data=val, validation_steps=len(val))" in text


def test_samples_of_an_unknown_generator_are_told_and_left(read: Read) -> None:
    adoption = read("import keras\nmodel.fit_generator(feed(), samples_per_epoch=2000)\n")
    assert "renamed-argument" in codes(adoption)
    assert "samples_per_epoch=2000" in mended(adoption)


@pytest.mark.parametrize(
    ("last", "instead"),
    [
        ('layers.Dense(1, activation="sigmoid")', '(model.predict(x) > 0.5).astype("int32")'),
        ('layers.Dense(4, activation="softmax")', "model.predict(x).argmax(axis=-1)"),
    ],
)
def test_predict_classes_becomes_what_the_outputs_ask_for(
    read: Read, last: str, instead: str
) -> None:
    code = f"from keras import layers, models\nmodel = models.Sequential([{last}])\n"
    adoption = read(code + "c = model.predict_classes(x)\n")
    assert codes(adoption) == ["removed-method"]
    assert mended(adoption) == code + f"c = {instead}\n"


def test_predict_classes_of_an_unknown_model_is_told_and_left(read: Read) -> None:
    code = 'from keras.models import load_model\nm = load_model("a.keras")\nm.predict_classes(x)\n'
    assert codes(read(code)) == ["removed-method"]
    assert read(code).mended is None


def test_predict_proba_becomes_predict_for_models_of_keras_alone(read: Read) -> None:
    code = FEED + "model.predict_proba(x)\nforest.predict_proba(x)\n"
    assert codes(read(code)) == ["removed-method"]
    assert mended(read(code)).endswith("model.predict(x)\nforest.predict_proba(x)\n")


def test_next_of_keras_own_generator_becomes_the_function(read: Read) -> None:
    code = (
        "import keras\nfrom tensorflow.keras.preprocessing.image import ImageDataGenerator\n"
        "x, y = ImageDataGenerator().flow(a, b).next()\nwords.next()\n"
    )
    assert "removed-method" in codes(read(code))
    assert mended(read(code)).endswith(
        "x, y = next(ImageDataGenerator().flow(a, b))\nwords.next()\n"
    )


def test_next_of_our_generator_is_right(read: Read) -> None:
    assert codes(read(FEED + "x, y = train.next()\n")) == []


def test_the_learning_rate_of_an_optimizer_has_its_new_name(read: Read) -> None:
    code = FEED + "print(model.optimizer.lr)\nmodel.optimizer.lr = 0.1\nargs.lr = 3\n"
    adoption = read(code)
    assert codes(adoption) == ["renamed-attribute", "renamed-attribute"]
    assert "setting it changes nothing" in adoption.findings[1].title
    assert "model.optimizer.learning_rate = 0.1\nargs.lr = 3\n" in mended(adoption)


def test_a_metric_as_text_becomes_a_list(read: Read) -> None:
    adoption = read(FEED.replace('["AUC", "accuracy"]', "'AUC'"))
    assert codes(adoption) == ["metrics-text"]
    assert "metrics=['AUC'])" in mended(adoption)


@pytest.mark.parametrize("key", ["acc", "val_acc"])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_history_keys_follow_the_compiled_metric(read: Read, key: str, quote: str) -> None:
    code = f"{FEED}h = model.fit(train)\nplot(h.history[{quote}{key}{quote}])\n"
    assert codes(read(code)) == ["history-key"]
    right = key.replace("acc", "accuracy")
    assert mended(read(code)).endswith(f"plot(h.history[{quote}{right}{quote}])\n")


def test_history_keys_follow_the_short_name_too(read: Read) -> None:
    code = FEED.replace('"accuracy"', '"acc"') + (
        "h = model.fit(train)\ncurves = h.history\nplot(curves['val_accuracy'])\n"
    )
    assert mended(read(code)).endswith("plot(curves['val_acc'])\n")


@pytest.mark.parametrize(
    "line",
    ['h.history["val_accuracy"]', 'scores["acc"]', 'h.history["loss"]', 'table["history"]["acc"]'],
)
def test_other_keys_are_left_alone(read: Read, line: str) -> None:
    assert codes(read(f"{FEED}h = model.fit(train)\n{line}\n")) == []


def test_a_history_of_models_with_both_names_is_left_alone(read: Read) -> None:
    code = FEED + 'other.compile("adam", "mse", metrics=["acc", "AUC"])\nh.history["acc"]\n'
    assert codes(read(code)) == []


@pytest.mark.parametrize("name", ["EarlyStopping", "ReduceLROnPlateau"])
def test_monitors_follow_the_compiled_metric(read: Read, name: str) -> None:
    adoption = read(f"{FEED}s = callbacks.{name}(monitor='val_acc', patience=3)\n")
    assert "Keras 3 stops" in the(adoption, "monitor-name").title
    assert f"callbacks.{name}(monitor='val_accuracy', patience=3)" in mended(adoption)


def test_a_monitor_with_a_mode_does_nothing_but_warn(read: Read) -> None:
    adoption = read(FEED + "callbacks.EarlyStopping('val_acc', mode='max')\n")
    assert "does nothing but warn" in the(adoption, "monitor-name").title


def test_class_weights_as_text_are_told(read: Read) -> None:
    adoption = read(FEED + 'model.fit(train, class_weight="auto")\n')
    assert the(adoption, "class-weight-text").severity == "error"
    assert codes(read(FEED + "model.fit(train, class_weight={0: 1, 1: 2})\n")) == []


@pytest.mark.parametrize(
    "call",
    ["model.fit_generator(train, nb_epoch=2, epochs=3)", "Adam(lr=1, learning_rate=2)",
     "model.fit_generator(train, samples_per_epoch=2, steps_per_epoch=3)"],
)  # fmt: skip
def test_an_argument_given_under_both_names_is_left(read: Read, call: str) -> None:
    adoption = read(f"{FEED}from keras.optimizers import Adam\n{call}\n")
    assert not adoption.refused
    left = [each.code for each in adoption.findings if not each.evidence["mended"]]
    assert "renamed-argument" in left


def test_imports_go_to_the_top_where_there_is_none(read: Read) -> None:
    head = '#!/usr/bin/env python\n# mine\n\n"""Trains."""\n'
    rest = "\n# the work\ndef main(model):\n    import keras\n    "
    adoption = read(f"{head}{rest}model.fit_generator(feed())\n")
    added = "from sightline.preprocessing.image import fit_generator\n"
    assert mended(adoption) == f"{head}{added}{rest}fit_generator(model, feed())\n"
