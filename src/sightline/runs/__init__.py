"""The run folder: atomic files, the lock, and reading it all back.

    runs/NAME/  run.json  recipe.toml  manifest.parquet (+ .npy index)  audit.json  plan.txt
                run.log  history.jsonl  checkpoints/step-*/  best.safetensors  model.json
                checkpoints/best.safetensors (the same once more)
                checkpoints/best-before.safetensors (as the checkpoint before knows it)
                model.keras  predictions/  evaluation.json  diagnosis.json  explain/
                history.png  report.html  model_card.md
                events/ (TensorBoard)  mlflow/  wandb/ (where train.log_to has them)
                network.keras (where no recipe describes the network)

Every file but the two logs is written beside its final name, fsynced and renamed, so a reader
never meets half a file. What has changed on the disk is noticed before it is used: `run.json`,
`model.json`, weights, checkpoints and the lines of `history.jsonl` carry sums of themselves, and
`run.json` has those of the files that stay as they are.

files        atomic writes, weights with their sha256
best         the best weights, in two files, and those of the checkpoint before
sums         the files that stay as they are
epochs       history.jsonl, events/
checkpoints  checkpoints/
folder       the folder as a whole: made, locked, opened, listed
decisions    how probabilities become classes, in model.json
journal      run.json and run.log, from the first second to the last
looks        how often a test split was looked at, by all runs of a user
trackers     copies of the history for MLflow and Weights & Biases
tables       rows streamed into a CSV or parquet file
"""

from __future__ import annotations

from sightline.runs.best import keep_best, read_best, restore_best, write_best
from sightline.runs.cards import model_card, run_card
from sightline.runs.checkpoints import (
    CHECKPOINT_VERSION,
    Checkpoint,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
    set_aside_damaged,
)
from sightline.runs.decisions import (
    Settled,
    decision_of_best,
    predictions_kept,
    settle,
    settle_again,
    settled,
    threshold_of,
    write_card,
)
from sightline.runs.epochs import Events, append_history, cut_history, read_history
from sightline.runs.files import (
    Tensors,
    file_sha256,
    flush_to_disk,
    make_folder,
    read_json,
    read_tensors,
    remove_file,
    remove_unfinished,
    save_manifest,
    write_atomically,
    write_content,
    write_json,
    write_sealed,
    write_tensors,
)
from sightline.runs.folder import (
    COMPOSED,
    IMPORTED,
    TRAINED,
    VALIDATED,
    KeptWeights,
    Run,
    fingerprint,
    list_runs,
    open_run,
)
from sightline.runs.journal import Journal, Logged, note, provenance
from sightline.runs.looks import count_looks, note_look
from sightline.runs.places import (
    CACHED,
    FOLD,
    NETWORK,
    check_new,
    claimed,
    create_run,
    locked,
    new_run_path,
    writing,
)
from sightline.runs.sums import is_as_written, refuse_changed, replace_file
from sightline.runs.tables import check_table_path, write_rows
from sightline.runs.trackers import About, Tracker, refuse_missing

__all__ = [
    "CACHED",
    "CHECKPOINT_VERSION",
    "COMPOSED",
    "FOLD",
    "IMPORTED",
    "NETWORK",
    "TRAINED",
    "VALIDATED",
    "About",
    "Checkpoint",
    "Events",
    "Journal",
    "KeptWeights",
    "Logged",
    "Run",
    "Settled",
    "Tensors",
    "Tracker",
    "append_history",
    "check_new",
    "check_table_path",
    "claimed",
    "count_looks",
    "create_run",
    "cut_history",
    "decision_of_best",
    "file_sha256",
    "fingerprint",
    "flush_to_disk",
    "is_as_written",
    "keep_best",
    "latest_checkpoint",
    "list_runs",
    "load_checkpoint",
    "locked",
    "make_folder",
    "model_card",
    "new_run_path",
    "note",
    "note_look",
    "open_run",
    "predictions_kept",
    "provenance",
    "read_best",
    "read_history",
    "read_json",
    "read_tensors",
    "refuse_changed",
    "refuse_missing",
    "remove_file",
    "remove_unfinished",
    "replace_file",
    "restore_best",
    "run_card",
    "save_checkpoint",
    "save_manifest",
    "set_aside_damaged",
    "settle",
    "settle_again",
    "settled",
    "threshold_of",
    "write_atomically",
    "write_best",
    "write_card",
    "write_content",
    "write_json",
    "write_rows",
    "write_sealed",
    "write_tensors",
    "writing",
]
