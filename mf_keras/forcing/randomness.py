"""The random states of layers, such as those of dropout, which Keras leaves out of its files."""

from keras import ops


def save(model, store):
    """Keep the states of all seed generators in the layers of a model, in their order."""
    for index, state in enumerate(_states(model)):
        store[_key(index)] = ops.convert_to_numpy(state)


def load(model, store):
    """Restore what `save` kept; files of before have none."""
    saved = set(store.keys())
    for index, state in enumerate(_states(model)):
        if _key(index) in saved:
            state.assign(store[_key(index)])


def _key(index):
    return f"layer_seed_state_{index}"


def _states(model):
    """What belongs to a model's state and is no weight."""
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]
