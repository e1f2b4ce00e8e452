"""How fast is training, beside plain Keras and beside what the machine can do?

Asked from train_ratios.py (ratios in one run), train_race.py (whole trainings, resumable) and
train_judge.py (the race's trainings on their test splits, once):

sets        the images, split once by patient or lesion: for us a manifest, for plain Keras a CSV
ours        our loop on a real stream, or on batches in memory
contenders  who works in turns in the race of the loops
child       what runs in a process of its own
turns       those processes; one works at a time, the others are stopped
loops       the race of the loops: our loop, model.fit, the stream, the matrix product
epochs      whole epochs beside the plain programs
costs       checkpoints and memory
standings   what the histories of a race come to: its tables and targets
targets     the numbers to reach, and which were
page        JSON to the tables of docs/benchmarks-training.md
"""
