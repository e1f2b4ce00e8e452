"""How fast is the Stream, beside what people use and beside what the machine can do?

__main__    the command: asks, prints, writes JSON
workload    what every contender does, and the face it shows
contenders/ one file a way to load images; the table of them all
sets        the images: real ones cut to a fixed number, and generated ones
driver      every contender in a process of its own; they work in turns
child       what runs in such a process
processes   seconds and memory of a process and its children
targets     the numbers to reach, and which were
page        JSON to the tables of docs/benchmarks.md
"""
