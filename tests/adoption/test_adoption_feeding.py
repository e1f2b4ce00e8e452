"""Numbers of steps, and generators: order, augmentation, scaling, split."""

from __future__ import annotations

from pathlib import Path

import pytest
from judged import FEED, FEED_LINES, Read, codes, mended, the

from sightline.adoption import adopt

AUGMENTED = """\
augmented = ImageDataGenerator(rescale=1 / 255, rotation_range=20, zoom_range=0.0)
moving = augmented.flow_from_directory("photos/val", class_mode="binary", shuffle=False)
"""


def fill(folder: Path, images: int) -> None:
    (folder / "a").mkdir(parents=True)
    for number in range(images):
        (folder / "a" / f"{number}.JPG").touch()
    (folder / "a" / "notes.txt").touch()


@pytest.mark.parametrize(
    "steps",
    ["train.samples // 32", "train.n // train.batch_size", "int(train.samples / 32)",
     "int(train.samples // 32)", "len(names) // BATCH"],
)  # fmt: skip
def test_whole_division_starves_fit_and_becomes_the_length(read: Read, steps: str) -> None:
    code = f"{FEED}BATCH = 32\nmodel.fit(train, epochs=3, steps_per_epoch={steps})\n"
    found = the(read(code), "steps-drop-images")
    assert found.severity == "error"
    assert "every second epoch" in found.title
    assert mended(read(code)).endswith("model.fit(train, epochs=3, steps_per_epoch=len(train))\n")


def test_the_rest_is_named_where_the_numbers_are_known(read: Read) -> None:
    code = FEED + "N = 1000\nmodel.fit(train, steps_per_epoch=N // 32)\n"
    assert "the last batch of 8 images" in the(read(code), "steps-drop-images").title


def test_a_division_without_rest_is_only_noted(read: Read) -> None:
    code = FEED + "N = 960\nmodel.fit(train, steps_per_epoch=N // 32)\n"
    found = the(read(code), "steps-fixed")
    assert found.severity == "info"
    assert "30 as long as there are exactly 960 images" in found.title
    assert "steps_per_epoch=len(train))" in mended(read(code))


def test_steps_by_position_are_seen(read: Read) -> None:
    code = FEED + "model.fit_generator(train, train.samples // 32, 3)\n"
    assert the(read(code), "steps-drop-images").severity == "warning"
    assert mended(read(code)).endswith("fit_generator(model, train, len(train), 3)\n")


def test_steps_of_a_generator_without_a_name_are_left_out(read: Read) -> None:
    code = FEED + "model.fit(plain.flow(x, y, batch_size=9), steps_per_epoch=len(x) // 9)\n"
    assert mended(read(code)).endswith("model.fit(plain.flow(x, y, batch_size=9))\n")


def test_a_prediction_with_whole_division_lacks_rows(read: Read) -> None:
    found = the(read(FEED + "model.predict(val, steps=val.samples // 32)\n"), "steps-drop-images")
    assert found.severity == "error"
    assert "fewer predictions than files" in found.title


@pytest.mark.parametrize(
    "steps", ["train.samples / 32", "np.ceil(train.samples / 32)", "2000 / 32"]
)
def test_fractions_of_steps_stop_keras_3(read: Read, steps: str) -> None:
    code = f"{FEED}model.fit(train, steps_per_epoch={steps})\n"
    assert the(read(code), "steps-not-whole").severity == "error"
    assert mended(read(code)).endswith("model.fit(train, steps_per_epoch=len(train))\n")


@pytest.mark.parametrize(
    "steps",
    ["len(train)", "math.ceil(train.samples / 32)", "int(np.ceil(train.samples / 32))", "None",
     "-(-train.samples // 32)", "STEPS"],
)  # fmt: skip
def test_right_numbers_of_steps_are_not_found(read: Read, steps: str) -> None:
    assert codes(read(f"{FEED}import math\nmodel.fit(train, steps_per_epoch={steps})\n")) == []


def test_a_fixed_number_of_steps_is_told_with_its_images(read: Read) -> None:
    adoption = read(FEED + "STEPS = 2000\nmodel.fit(train, steps_per_epoch=STEPS)\n")
    assert "64,000 images in batches of 32" in the(adoption, "steps-fixed").title
    assert adoption.mended is None


@pytest.mark.parametrize(("steps", "severity"), [(2, "error"), (4, "warning")])
def test_a_fixed_number_of_steps_is_held_against_the_folder(
    tmp_path: Path, steps: int, severity: str
) -> None:
    fill(tmp_path / "photos" / "train", 90)
    script = tmp_path / "script.py"
    script.write_text(f"{FEED}model.fit(train, steps_per_epoch={steps})\n")
    found = the(adopt(script), "steps-fixed")
    assert found.severity == severity
    assert "holds 90, that is 3 batches" in found.title


def test_the_right_number_of_steps_for_the_folder_is_not_found(tmp_path: Path) -> None:
    fill(tmp_path / "photos" / "train", 90)
    script = tmp_path / "script.py"
    script.write_text(f"{FEED}model.fit(train, steps_per_epoch=3)\n")
    assert codes(adopt(script)) == []


def test_endless_generators_of_the_program_need_their_steps(read: Read) -> None:
    code = "def feed():\n    while True:\n        yield x, y\n"
    assert codes(read(f"{FEED}{code}model.fit(feed(), steps_per_epoch=n // 32)\n")) == []


def test_generators_made_by_a_function_are_known(read: Read) -> None:
    code = FEED + (
        "def make(folder, shuffle):\n"
        "    return plain.flow_from_directory(folder, class_mode='binary', shuffle=shuffle)\n"
        "one, two = make('a', True), make('b', False)\n"
        "model.fit(two, validation_data=one, steps_per_epoch=two.samples // 32)\n"
    )
    assert set(codes(read(code))) == {"steps-drop-images", "train-unshuffled"}


def test_generators_passed_to_a_function_are_known(read: Read) -> None:
    code = FEED + (
        "def go(net, feed, batch=32):\n"
        "    net.fit(feed, steps_per_epoch=1000 // batch, batch_size=batch)\n"
        "go(model, train)\n"
    )
    adoption = read(code)
    assert codes(adoption) == ["steps-drop-images", "batch-size-ignored"]
    assert "of 8 images" in the(adoption, "steps-drop-images").title
    assert "    net.fit(feed, steps_per_epoch=len(feed))\n" in mended(adoption)


def test_generators_of_an_object_are_known(read: Read) -> None:
    code = FEED + (
        "class Job:\n"
        "    def __init__(self):\n"
        "        self.feed = plain.flow(x, y, shuffle=False)\n"
        "    def go(self):\n"
        "        model.fit(self.feed, steps_per_epoch=len(x) // 32)\n"
    )
    adoption = read(code)
    assert set(codes(adoption)) == {"train-unshuffled", "steps-drop-images"}
    assert "steps_per_epoch=len(self.feed))" in mended(adoption)


def test_a_name_with_two_meanings_is_not_guessed(read: Read) -> None:
    code = FEED + (
        "if small:\n    feed = train\nelse:\n    feed = plain.flow(x, y, shuffle=False)\n"
        "model.fit(feed, batch_size=3)\n"
    )
    assert codes(read(code)) == []


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_batch_size_beside_a_generator_is_removed(read: Read, method: str) -> None:
    adoption = read(f"{FEED}model.{method}(val, batch_size=64)\n".replace("val,", "train,"))
    found = the(adoption, "batch-size-ignored")
    assert "`train` makes the batches, of 32" in found.title
    assert found.evidence["line"] == FEED_LINES + 1
    assert mended(adoption).endswith(f"model.{method}(train)\n")


def test_batch_size_beside_arrays_is_right(read: Read) -> None:
    assert codes(read(FEED + "model.fit(x, y, batch_size=64)\n")) == []


@pytest.mark.parametrize(
    "use", ["model.fit(train, validation_data=moving)", "model.evaluate(moving)"]
)
def test_augmented_validation_is_told(read: Read, use: str) -> None:
    adoption = read(f"{FEED}{AUGMENTED}{use}\n")
    found = the(adoption, "validation-augmented")
    assert "(rotation_range)" in found.title  # zoom_range=0.0 does nothing
    assert adoption.mended is None


def test_augmentation_in_a_dict_is_seen(read: Read) -> None:
    code = FEED + (
        "how = dict(horizontal_flip=True, rescale=1 / 255)\n"
        "moving = ImageDataGenerator(**how).flow(x, y)\nmodel.evaluate(moving)\n"
    )
    assert codes(read(code)) == ["validation-augmented"]


def test_the_training_generator_used_for_validation_is_named(read: Read) -> None:
    code = FEED + (
        "both = ImageDataGenerator(validation_split=0.2, shear_range=0.1, rescale=1 / 255)\n"
        "a = both.flow_from_directory('d', subset='training', class_mode='binary')\n"
        "b = both.flow_from_directory('d', subset='validation', class_mode='binary')\n"
        "model.fit(a, validation_data=b)\n"
    )
    adoption = read(code)
    assert codes(adoption) == ["split-by-order", "validation-augmented"]
    assert "the ImageDataGenerator of the training" in the(adoption, "validation-augmented").title
    assert "first 20% of each class" in the(adoption, "split-by-order").title


def test_validation_that_only_rescales_is_right(read: Read) -> None:
    assert codes(read(FEED + "model.fit(train, validation_data=val)\nmodel.evaluate(val)\n")) == [
        "test-as-validation"
    ]


def test_unshuffled_training_is_an_error(read: Read) -> None:
    found = the(read(FEED + "model.fit(val)\n"), "train-unshuffled")
    assert found.severity == "error"
    assert found.evidence["line"] == 6
    assert "class after class" in found.title


@pytest.mark.parametrize("names", ["filenames", "filepaths", "classes", "labels"])
def test_shuffled_predictions_matched_to_files_are_an_error(read: Read, names: str) -> None:
    code = f"{FEED}rows = model.predict(train)\ntable = dict(zip(train.{names}, rows))\n"
    found = the(read(code), "predictions-shuffled")
    assert found.severity == "error"
    assert f"`train.{names}` (line {FEED_LINES + 2})" in found.title
    assert read(code).mended is None


@pytest.mark.parametrize(
    "code",
    ["rows = model.predict(val)\nzip(val.filenames, rows)\n",
     "rows = model.predict(train)\nlen(train.filenames)\nset(train.classes)\n",
     "rows = model.predict(train)\nzip(val.filenames, rows)\n",
     "from sightline.preprocessing.image import predict_generator\n"
     "zip(train.filenames, predict_generator(model, train))\n"],
)  # fmt: skip
def test_predictions_in_the_order_of_the_files_are_right(read: Read, code: str) -> None:
    assert codes(read(FEED + code)) == []


def test_our_predict_generator_mends_the_order(read: Read) -> None:
    code = FEED + "zip(train.filenames, model.predict_generator(train))\n"
    adoption = read(code)
    assert codes(adoption) == ["generator-method", "predictions-shuffled"]
    assert all(each.evidence["mended"] for each in adoption.findings)
    assert codes(read(mended(adoption))) == []


def test_another_scaling_than_the_training_s_is_an_error(read: Read) -> None:
    code = FEED + "raw = ImageDataGenerator().flow(x, y)\nmodel.fit(train, validation_data=raw)\n"
    found = the(read(code), "scaling-differs")
    assert found.severity == "error"
    assert "`raw` has no rescale, the training's `train` rescale=1 / 255" in found.title


def test_two_ways_to_write_one_scaling_are_one(read: Read) -> None:
    code = FEED + "o = ImageDataGenerator(rescale=1.0 / 255.0).flow(x, y)\nmodel.fit(train)\n"
    assert codes(read(code + "model.evaluate(o)\n")) == []


def test_scaling_twice_is_an_error(read: Read) -> None:
    code = FEED + (
        "from keras.applications.vgg16 import preprocess_input\n"
        "ImageDataGenerator(rescale=1 / 255, preprocessing_function=preprocess_input)\n"
    )
    assert the(read(code), "scaled-twice").severity == "error"


def test_preprocess_input_alone_is_right(read: Read) -> None:
    code = FEED + "from keras.applications.vgg16 import preprocess_input\n"
    assert codes(read(f"{code}ImageDataGenerator(preprocessing_function=preprocess_input)\n")) == []


def test_the_last_rows_are_no_random_validation(read: Read) -> None:
    found = the(read(FEED + "model.fit(x, y, validation_split=0.3)\n"), "split-by-order")
    assert "the last rows" in found.title
    assert codes(read(FEED + "model.fit(x, y, validation_split=0.0)\n")) == []


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_a_number_of_steps_in_the_place_of_the_labels_is_an_error(read: Read, method: str) -> None:
    found = the(read(f"{FEED}model.{method}(train, n // 32)\n"), "labels-beside-generator")
    assert found.severity == "error"
    assert "`n // 32` is read as the labels" in found.title
    assert codes(read(f"{FEED}model.{method}(train, None)\n")) == []


def test_arguments_that_keras_passes_over_are_errors(read: Read) -> None:
    code = FEED + "plain.flow_from_dataframe(rows, x_col='f', keep_aspect_ratio=True)\n"
    assert "`keep_aspect_ratio=`" in the(read(code), "unknown-argument").title
    assert codes(read(code.replace("keep_aspect_ratio=True", "validate_filenames=False"))) == []


def test_a_quotient_in_a_sum_is_no_whole_number_either(read: Read) -> None:
    code = FEED + "STEPS = train.samples / 32 + 1\nmodel.fit(train, steps_per_epoch=STEPS)\n"
    assert mended(read(code)).endswith("model.fit(train, steps_per_epoch=len(train))\n")


def test_a_generator_that_is_repeated_keeps_a_number_of_steps(read: Read) -> None:
    code = FEED + "model.fit(train.repeat(), steps_per_epoch=train.samples // 32)\n"
    assert the(read(code), "steps-drop-images").severity == "warning"
    assert mended(read(code)).endswith("model.fit(train.repeat(), steps_per_epoch=len(train))\n")


def test_a_repeated_generator_without_a_name_is_left(read: Read) -> None:
    code = FEED + "model.fit(plain.flow(x, y).repeat(), steps_per_epoch=len(x) // 32)\n"
    assert codes(read(code)) == ["steps-drop-images"]
    assert read(code).mended is None
