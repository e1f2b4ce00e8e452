"""Keras' old preprocessing, for programs that were written for it.

image     everything of `keras.preprocessing.image`: the one module to import from
generator ImageDataGenerator: its arguments, random parameters, standardisation
affine    one picture moved, and its colours changed
drawing   the random parameters of a batch, in Keras' order, and the matrices they stand for
iterators batches of arrays, folders and tables
calls     fit_generator and its kin, as functions and as methods
"""
