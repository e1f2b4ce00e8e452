"""How a model is chosen and judged, what it ends with, and the files it goes to."""

from __future__ import annotations

from pathlib import Path

import pytest
from judged import FEED, Read, codes, the

from sightline.adoption import adopt

STOP = "stop = callbacks.EarlyStopping(patience=3)\n"
KEEP = 'keep = callbacks.ModelCheckpoint("best.keras", save_best_only=True)\n'


@pytest.mark.parametrize("metric", ["accuracy", "acc", "binary_accuracy"])
def test_accuracy_alone_is_told(read: Read, metric: str) -> None:
    code = FEED.replace('"AUC", "accuracy"', f"'{metric}'")
    assert the(read(code), "accuracy-alone").severity == "warning"


def test_class_weights_make_the_words_stronger(read: Read) -> None:
    code = FEED.replace('"AUC", ', "") + "model.fit(train, class_weight=weights)\n"
    assert "not of one size" in the(read(code), "accuracy-alone").title


def test_many_classes_make_the_words_stronger(read: Read) -> None:
    code = FEED.replace('"AUC", ', "").replace("Dense(1,", "Dense(7,")
    assert "of 7 classes" in the(read(code), "accuracy-alone").title


@pytest.mark.parametrize("metrics", ['["accuracy", keras.metrics.AUC()]', "[]", "names", "['AUC']"])
def test_other_metrics_are_not_told(read: Read, metrics: str) -> None:
    code = "import keras\n" + FEED.replace('["AUC", "accuracy"]', metrics)
    assert codes(read(code)) == []


@pytest.mark.parametrize(("steps", "told"), [(3, True), (4, False)])
def test_a_small_validation_is_told_by_its_steps(read: Read, steps: int, told: bool) -> None:
    how = f"validation_data=val, validation_steps={steps}, callbacks=[stop]"
    code = f"{FEED}{STOP}model.fit(train, {how})\n"
    assert ("validation-small" in codes(read(code))) is told


@pytest.mark.parametrize(("images", "told"), [(16, True), (101, False)])
def test_a_small_validation_is_told_by_its_folder(tmp_path: Path, images: int, told: bool) -> None:
    (tmp_path / "photos" / "val" / "normal").mkdir(parents=True)
    for number in range(images):
        (tmp_path / "photos" / "val" / "normal" / f"{number}.png").touch()
    script = tmp_path / "script.py"
    script.write_text(f"{FEED}{STOP}model.fit(train, validation_data=val, callbacks=[stop])\n")
    adoption = adopt(script)
    assert ("validation-small" in codes(adoption)) is told
    if told:
        title = the(adoption, "validation-small").title
        assert "EarlyStopping steers by 16 validation pictures (the files in photos/val)" in title
        assert "6.2 points" in title


def test_a_small_validation_that_steers_nothing_is_not_told(read: Read) -> None:
    code = FEED + "model.fit(train, validation_data=val, validation_steps=1)\n"
    assert "validation-small" not in codes(read(code))


@pytest.mark.parametrize("judge", ["evaluate", "predict"])
def test_the_last_weights_are_told(read: Read, judge: str) -> None:
    code = f"{FEED}{STOP}model.fit(train, callbacks=[stop])\nmodel.{judge}(val)\n"
    assert "has no restore_best_weights" in the(read(code), "last-weights").title


def test_a_checkpoint_that_is_never_loaded_is_told(read: Read) -> None:
    code = f"{FEED}{KEEP}cb = [keep]\nmodel.fit(train, callbacks=cb)\nmodel.evaluate(val)\n"
    assert "never loaded" in the(read(code), "last-weights").title


@pytest.mark.parametrize(
    "code",
    [KEEP + "model.fit(train, callbacks=[keep])\nmodel.load_weights('b')\nmodel.evaluate(val)\n",
     STOP.replace(")", ", restore_best_weights=True)") + "model.fit(train, callbacks=[stop])\n"
     "model.evaluate(val)\n",
     KEEP + "model.fit(train, callbacks=[keep])\nbest = models.load_model('best.keras')\n"
     "best.evaluate(val)\n",
     STOP + "model.fit(train, callbacks=[stop])\n",
     "model.fit(train)\nmodel.evaluate(val)\n"],
)  # fmt: skip
def test_the_best_weights_are_not_told(read: Read, code: str) -> None:
    assert codes(read(FEED + code)) == []


def test_a_test_set_that_was_the_validation_is_told(read: Read) -> None:
    code = (
        FEED + "model.fit(x, y, validation_data=(x_test, y_test))\nmodel.evaluate(x_test, y_test)\n"
    )
    assert "`x_test` is evaluated here" in the(read(code), "test-as-validation").title


def test_a_test_set_of_its_own_is_not_told(read: Read) -> None:
    code = (
        FEED + "model.fit(x, y, validation_data=(x_val, y_val))\nmodel.evaluate(x_test, y_test)\n"
    )
    assert codes(read(code)) == []


@pytest.mark.parametrize(
    ("seed", "told"),
    [("", True), ("keras.utils.set_random_seed(1)\n", False),
     ("import random\nrandom.seed(1)\n", False),
     ("import tensorflow as tf\ntf.random.set_seed(3)\n", False),
     ("split(x, random_state=4)\n", False),
     ("split(x, random_state=None)\n", True)],
)  # fmt: skip
def test_a_program_without_a_seed_is_noted(read: Read, seed: str, told: bool) -> None:
    code = "import keras\n" + FEED.replace("np.random.seed(1)\n", seed) + "model.fit(train)\n"
    assert codes(read(code)) == (["no-seed"] if told else [])


def test_softmax_on_one_output_is_an_error(read: Read) -> None:
    code = FEED.replace("sigmoid", "softmax") + "model.fit(train)\n"
    assert "always 1" in the(read(code), "output-activation").title


def test_softmax_in_a_layer_of_its_own_is_seen(read: Read) -> None:
    code = (
        "from keras.models import Sequential\nfrom keras.layers import *\nmodel = Sequential()\n"
        "model.add(Flatten())\nmodel.add(Dense(1))\nmodel.add(Activation('softmax'))\n"
        "model.compile('adam', 'binary_crossentropy', metrics=['AUC'])\nmodel.fit(x, y, seed=1)\n"
    )
    assert codes(read(code)) == ["output-activation"]


def test_categorical_loss_on_one_output_is_an_error(read: Read) -> None:
    code = FEED.replace("binary_crossentropy", "categorical_crossentropy") + "model.fit(train)\n"
    assert "is always 0" in the(read(code), "output-loss").title


def test_a_functional_model_ends_where_it_ends(read: Read) -> None:
    code = FEED + (
        "i = layers.Input((8, 8, 3))\nx = layers.Flatten()(i)\nx = layers.Dense(9)(x)\n"
        "x = layers.Dense(1, activation='softmax')(x)\nnet = models.Model(inputs=i, outputs=x)\n"
        "net.compile('adam', 'binary_crossentropy', metrics=['AUC'])\nnet.fit(a, b)\n"
    )
    assert the(read(code), "output-activation").evidence["source"].startswith("x = layers.Dense(1")


@pytest.mark.parametrize(
    ("units", "loss", "mode", "right"),
    [(1, "binary_crossentropy", "binary", True), (1, "binary_crossentropy", "categorical", False),
     (2, "categorical_crossentropy", "binary", False), (2, "binary_crossentropy", "binary", False),
     (2, "binary_crossentropy", "categorical", True),
     (5, "categorical_crossentropy", "sparse", False),
     (5, "sparse_categorical_crossentropy", "categorical", False),
     (5, "sparse_categorical_crossentropy", "sparse", True), (5, "mse", "binary", True)],
)  # fmt: skip
def test_labels_fit_the_outputs_and_the_loss(
    read: Read, units: int, loss: str, mode: str, right: bool
) -> None:
    code = FEED.replace("Dense(1,", f"Dense({units},").replace("binary_crossentropy", loss)
    code = code.replace('class_mode="binary"', f'class_mode="{mode}"')
    assert codes(read(code + "model.fit(train)\n")) == ([] if right else ["class-mode"])


@pytest.mark.parametrize(
    "first", ["layers.Input((64, 48, 3))", "layers.Conv2D(4, 3, input_shape=(64, 48, 3))"]
)
def test_pictures_have_the_size_the_model_takes(read: Read, first: str) -> None:
    code = FEED.replace("[layers.Flatten()", f"[{first}, layers.Flatten()") + "model.fit(train)\n"
    found = the(read(code), "input-size")
    assert "pictures of 256x256, the model takes 64x48" in found.title
    right = code.replace("batch_size=32", "target_size=(64, 48)")
    assert codes(read(right)) == []


@pytest.mark.parametrize(
    ("call", "right"),
    [('"w.hdf5"', False), ('"w.{epoch:02d}.hdf5", save_weights_only=True', False),
     ('"folder"', False),
     ('"w.h5", save_weights_only=True', False), ('"w.h5"', True), ('"w.keras"', True),
     ('"w.weights.h5", save_weights_only=True', True), ("path()", True)],
)  # fmt: skip
def test_checkpoints_have_an_ending_that_keras_3_takes(read: Read, call: str, right: bool) -> None:
    expected = [] if right else ["checkpoint-path"]
    assert codes(read(f"{FEED}callbacks.ModelCheckpoint({call})\n")) == expected


@pytest.mark.parametrize(
    ("call", "code"),
    [("model.save('folder')", "save-path"), ("model.save('m.h5')", "h5-saved"),
     ("model.save('m.keras')", None), ("model.save_weights('w.h5')", "save-path"),
     ("model.save_weights('w.weights.h5')", None),
     ("models.save_model(model, 'm.tf')", "save-path"),
     ("figure.save('folder')", None), ("model.save(os.path.join('a', 'm.hdf5'))", "h5-saved")],
)  # fmt: skip
def test_models_are_saved_to_what_keras_3_takes(read: Read, call: str, code: str | None) -> None:
    assert codes(read(f"{FEED}import os\n{call}\n")) == ([code] if code else [])


def test_training_on_from_hdf5_is_an_error(read: Read) -> None:
    code = FEED + 'again = models.load_model("m.h5")\n'
    found = the(read(code + "again.fit(train)\n"), "h5-training")
    assert found.severity == "error"
    assert "'m.h5' (line 10)" in found.title


@pytest.mark.parametrize(
    "rest",
    ['m = models.load_model("m.h5")\nm.compile("adam", "mse")\nm.fit(train)\n',
     'm = models.load_model("m.h5")\nm.predict(val)\n',
     'm = models.load_model("m.keras")\nm.fit(train)\n'],
)  # fmt: skip
def test_other_uses_of_a_loaded_model_are_right(read: Read, rest: str) -> None:
    assert codes(read(FEED + rest)) == []


@pytest.mark.parametrize(
    "path",
    ['folder + "/w.hdf5"', 'os.path.join(folder, "w.hdf5")', 'f"{folder}/w.hdf5"',
     '"{}/w.hdf5".format(folder)', 'Path(folder) / "w.hdf5"', '"w-%d.hdf5" % day'],
)  # fmt: skip
def test_an_ending_is_enough_of_a_path(read: Read, path: str) -> None:
    code = f"{FEED}import os\nfolder = find()\ncallbacks.ModelCheckpoint({path})\n"
    assert codes(read(code)) == ["checkpoint-path"]


def test_a_model_on_top_of_another_has_its_output(read: Read) -> None:
    code = FEED + (
        "from keras.applications import VGG16\nbase = VGG16()\n"
        "whole = models.Model(inputs=base.input, outputs=model(base.output))\n"
        "whole.compile('adam', 'categorical_crossentropy', metrics=['AUC'])\nwhole.fit(train)\n"
    )
    assert codes(read(code)) == ["output-loss"]
