"""Networks, the Keras backend, and one forward step.

Only `backend` may be imported before a backend is chosen; the other modules import Keras.
"""
