"""Keras' old preprocessing, for programs that were written for it.

image     everything of `keras.preprocessing.image`: the one module to import from
generator ImageDataGenerator: random parameters, changes of a picture, standardisation
arguments what its arguments may be
affine    one picture moved, and its colours changed
drawing   the random parameters of a batch, in Keras' order, and the matrices they stand for
iterators batches of arrays, folders and tables
repeating so many batches in every epoch
calls     fit_generator and its kin, as functions and as methods
"""
