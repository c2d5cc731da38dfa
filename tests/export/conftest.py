"""Requests to the export that `tests/conftest.py` makes."""

import pytest


@pytest.fixture(scope="session")
def ask(signatures):
    """The loaded signatures: `ask(name, **arrays)` gives arrays by name."""
    import tensorflow as tf

    def ask(name, **inputs):
        outputs = signatures[name](**{k: tf.constant(x) for k, x in inputs.items()})
        return {name: x.numpy() for name, x in outputs.items()}

    return ask
