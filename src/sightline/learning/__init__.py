"""Everything that knows Keras: networks, training, prediction."""
