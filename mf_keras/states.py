"""What a file keeps of a layer besides its weights: logs of an epoch, random states."""

from collections.abc import Mapping
from typing import Any

from keras import ops


def random_states(model: Any) -> dict[str, Any]:
    """Name in a file -> variable, of what a built Keras model draws by: of its parts, too."""
    weights = {id(variable) for variable in model.weights}
    random = [variable for variable in model.variables if id(variable) not in weights]
    return {f"random_state_{index}": variable for index, variable in enumerate(random)}


class KeepsStates:
    """What a layer or model inherits from, before Keras' class, to keep its `states` in files.

    With them a resumed training is the same training.
    """

    def states(self) -> Mapping[str, Any]:
        """Name in a file -> Keras variable, of what is no weight and goes on in a loaded copy."""
        raise NotImplementedError

    def save_own_variables(self, store: Any) -> None:
        """Keep the states, too."""
        super().save_own_variables(store)  # type: ignore[misc]  # of the layer
        for name, variable in self.states().items():
            store[name] = ops.convert_to_numpy(variable)

    def load_own_variables(self, store: Any) -> None:
        """Restore what `save_own_variables` kept, as far as the file has it."""
        saved = set(store.keys())
        # Keras refuses what it did not save itself.
        own = {key: store[key] for key in saved if key.isdigit()}
        super().load_own_variables(own)  # type: ignore[misc]  # of the layer
        for name, variable in self.states().items():
            if name in saved:
                variable.assign(store[name])
