"""A bit that flips in a file of a run is refused, told, or changes nothing that anybody reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny import train

import sightline as sl
from listening_lines import Lines
from sightline.runs import file_sha256, load_checkpoint, write_sealed

SETTINGS = {"train__epochs": 2, "checkpoint__steps": 1}


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    run = train(pictures, tmp_path_factory.mktemp("runs") / "whole", **SETTINGS)
    sl.evaluate(run, split="validation", progress=sl.Silent())
    return run


@pytest.fixture
def run(whole: sl.Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole.path, tmp_path / "run"))


def flip(path: Path, chance: np.random.Generator) -> Callable[[], None]:
    """Flip a bit somewhere in a file, and return what puts it back."""
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[chance.integers(len(content))] ^= 1 << int(chance.integers(8))
    path.write_bytes(damaged)
    return lambda: path.write_bytes(content) and None


def test_with_every_checkpoint_damaged_nothing_is_begun_again(run: Path) -> None:
    saved = sorted(run.glob("checkpoints/step-*/state.safetensors"))
    assert len(saved) == 2
    for path in saved:
        flip(path, np.random.default_rng(0))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(sl.RunError, match=r"no checkpoint of .* can be used:\n.*\n.*\nNothing was"):
        sl.train(resume=run, changes={"train.epochs": 3}, progress=sl.Silent())
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {path for path in before if after[path] != before[path]} <= {run / "run.lock"}


def test_a_thousand_bits_of_all_files_of_a_checkpoint_are_found(run: Path) -> None:
    older, newer = sorted(run.glob("checkpoints/step-*"))
    chance, files = np.random.default_rng(1), sorted(newer.iterdir())
    sizes = np.asarray([path.stat().st_size for path in files])
    for number in range(1000):  # half of them as large as the files are, half in each file
        share = sizes / sizes.sum() if number % 2 else None
        mend = flip(files[chance.choice(len(files), p=share)], chance)
        found, damaged = load_checkpoint(run)
        assert found is not None
        assert (found.path, len(damaged)) == (older, 1)
        mend()


def uses(run: Path, image: Path) -> dict[str, Callable[[Lines], object]]:
    """Return everything that reads a run; each gives what it came to, as text."""
    return {
        "info": lambda _: dict(sl.open_run(run).info),
        "recipe": lambda _: sl.open_run(run).recipe,
        "history": lambda _: sl.open_run(run).history.table.to_dicts(),
        "best epoch": lambda _: sl.open_run(run).history.best_epoch,
        "model": lambda _: dict(sl.open_run(run).model),
        "plan": lambda _: sl.open_run(run).plan,
        "findings": lambda _: sl.open_run(run).findings,
        "manifest": lambda _: sl.open_run(run).manifest.table.to_dicts(),
        "classes": lambda _: sl.open_run(run).manifest.class_names,
        "figures": lambda _: [each.to_dict() for each in sl.open_run(run).evaluations],
        "predictions": lambda _: told_of(sl.open_run(run).predictions("validation", "best")),
        "best": lambda lines: sl.predict(run, image, progress=lines).table.to_dicts(),
        "last": lambda lines: sl.predict(
            run, image, weights="last", progress=lines
        ).table.to_dicts(),
        "resume": lambda lines: sl.train(resume=run, only_train=True, progress=lines).info["state"],
    }


def told_of(predictions: sl.Predictions) -> object:
    rows = predictions.to_table().to_dicts()
    return rows, predictions.model_fingerprint, predictions.weights, predictions.epoch


def tried(use: Callable[[Lines], object]) -> tuple[str, list[str]]:
    """Return what a use came to, or "refused", and what was said."""
    lines = Lines()
    try:
        return str(use(lines)), lines.said
    except sl.SightlineError:
        return "refused", lines.said


@pytest.mark.parametrize("flips", [4, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name",
    [
        *("recipe.toml", "run.json", "model.json", "history.jsonl", "best.safetensors"),
        *("manifest.parquet", "manifest.parquet.npy", "plan.txt", "audit.json"),
        *("evaluation.json", "predictions/validation-best.parquet"),
        *("checkpoints/best.safetensors", "checkpoints/*/meta.json"),
        *("checkpoints/*/state.safetensors", "checkpoints/*/SHA256"),
    ],
)
def test_a_flipped_bit_is_refused_or_told_or_changes_nothing(
    name: str, flips: int, run: Path, pictures: Path
) -> None:
    chance, path = np.random.default_rng(len(name)), sorted(run.glob(name))[-1]
    known = uses(run, pictures / "val" / "cat" / "000.png")
    whole = {key: tried(use) for key, use in known.items()}
    assert "refused" not in {came_to for came_to, _ in whole.values()}
    told = []
    for _ in range(flips):
        mend = flip(path, chance)
        for key, use in known.items():
            came_to, said = tried(use)
            noticed = came_to == "refused" or said != whole[key][1] or "as it was wri" in came_to
            assert noticed or came_to == whole[key][0], key
            told += [key] * noticed
        mend()
    assert told or name == "checkpoints/best.safetensors"  # which is read where the first fails


@pytest.mark.slow
@pytest.mark.parametrize("name", ["recipe.toml", "model.json", "history.jsonl", "best.safetensors"])
def test_a_training_that_goes_on_beside_a_flipped_bit_ends_the_same_or_is_refused(
    name: str, pictures: Path, run: Path, tmp_path: Path
) -> None:
    more = {"train.epochs": 3}
    unharmed = shutil.copytree(run, tmp_path / "unharmed")
    whole = sl.train(resume=unharmed, changes=more, only_train=True, progress=sl.Silent())
    chance = np.random.default_rng(5)
    for number in range(8):
        broken = shutil.copytree(run, tmp_path / f"broken-{number}")
        flip(broken / name, chance)
        lines = Lines()
        try:
            ended = sl.train(resume=broken, changes=more, only_train=True, progress=lines)
        except sl.SightlineError:
            continue
        lost = any("how a class was chosen is not known" in line for line in lines.said)
        chosen = {"decisions", "temperature", "threshold", "sha256"} if lost else set()
        assert lost == (name == "model.json")
        kept = [
            {key: each.model[key] for key in each.model if key not in chosen}
            for each in (ended, whole)
        ]
        assert kept[0] == kept[1]
        assert ended.history["loss"].to_list() == whole.history["loss"].to_list()


def test_a_damaged_index_is_made_anew_from_the_manifest(run: Path) -> None:
    index = run / "manifest.parquet.npy"
    content, lines = index.read_bytes(), Lines()
    flip(index, np.random.default_rng(3))
    sl.train(resume=run, changes={"train.epochs": 3}, only_train=True, progress=lines)
    assert index.read_bytes() == content
    assert any("npy was missing or damaged; it was made anew" in line for line in lines.said)


def test_other_images_than_the_checkpoint_knows_are_refused_by_their_index(run: Path) -> None:
    index = run / "manifest.parquet.npy"
    known = json.loads((run / "run.json").read_text("utf-8"))
    index.write_bytes(index.read_bytes() + b" ")
    known["files"][index.name].append(file_sha256(index))
    write_sealed(run / "run.json", known)
    with pytest.raises(
        sl.RunError, match=r"the index of .* not those that this training was saved"
    ):
        sl.train(resume=run, progress=sl.Silent())


def test_a_damaged_best_file_costs_a_resumed_training_nothing(run: Path) -> None:
    best = run / "best.safetensors"
    whole, lines = sl.open_run(run).kept("best"), Lines()
    flip(best, np.random.default_rng(3))
    done = sl.train(resume=run, changes={"stop.patience": 1}, only_train=True, progress=lines)
    assert f"{best} was damaged, and is written anew from its copy." in lines.said
    kept = done.kept("best")
    assert (done.state, kept.epoch, kept.told) == ("finished", whole.epoch, ())
    assert all(np.array_equal(kept.arrays[name], whole.arrays[name]) for name in whole.arrays)


@pytest.mark.parametrize("use", ["predict", "export"])
def test_with_a_damaged_checkpoint_last_weights_are_of_the_one_before_and_that_is_said(
    use: str, run: Path, pictures: Path, tmp_path: Path
) -> None:
    newest = sorted(run.glob("checkpoints/step-*"))[-1]
    flip(newest / "state.safetensors", np.random.default_rng(3))
    lines = Lines()
    if use == "predict":
        image = pictures / "val" / "cat" / "000.png"
        sl.predict(run, image, weights="last", progress=lines)
    else:
        sl.export(run, format="keras", out=tmp_path / "last.keras", weights="last", progress=lines)
    assert any(
        f"{newest.name} is damaged" in line and "in its place" in line for line in lines.said
    )
