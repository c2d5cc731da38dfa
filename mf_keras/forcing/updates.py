"""Updates of weights: where a gradient is not finite, nothing moves, and the step is counted."""

import copy
import inspect
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mf_keras import backend
from mf_keras.backend import replicas
from mf_keras.forcing.metrics import SkippedUpdates
from mf_keras.types import Config, Tensor


class Updates:
    """Moves the weights of one player, unless a gradient is NaN or infinite.

    The weights' own regularizers are added to the loss here, once for the global batch.

    A skipped update leaves weights, momentum and `iterations` as they are. A `LossScaleOptimizer`
    (float16) skips by itself and halves its scale, which in its first steps is as it should be:
    its skipped updates are logged, but belong to no streak before the scale is below 1.

    Args:
        skipped: the `SkippedUpdates` to count in.
        player: the player's name there.
    """

    def __init__(self, skipped: SkippedUpdates, player: str) -> None:
        self._skipped = skipped
        self._player = player
        self._terms = skipped.players[player]

    def apply(
        self,
        optimizer: Any,
        gradients: Sequence[Tensor | None],
        variables: Sequence[Any],
        terms: Mapping[str, Any] | None = None,
    ) -> None:
        """Give the gradients to the optimizer, or skip them.

        Args:
            optimizer: a built Keras optimizer.
            gradients: one for each of `variables`, or None; of several replicas, their parts.
            variables: the player's.
            terms: name of a term -> tensors that are finite if it is not at fault; a term that is
                not there is taken to be finite.
        """
        gradients = _regularized(optimizer, replicas.summed(gradients), variables)
        finite = _all_finite(gradients)

        def faults():
            """Which terms are not finite, (terms,) of bool."""
            found = [~_all_finite((terms or {}).get(name, ())) for name in self._terms]
            return replicas.total(ops.cast(ops.stack(found), "int32")) > 0

        def applied():
            replicas.apply(optimizer, gradients, variables)
            return ops.zeros((len(self._terms),), "bool")

        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            counts = optimizer.dynamic_scale < 1.0
            applied()
            guilty = faults()
        else:
            counts = True
            # The terms are looked at only where something is wrong.
            guilty = replicas.cond(finite, applied, faults)
        self._skipped.update_state(self._player, ops.logical_not(finite), counts, guilty)


def inner(optimizer: Any) -> Any:
    """The optimizer itself, or the one that a `LossScaleOptimizer` is around."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def copied(name: str, optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """A copy of an optimizer that is not built, with all its settings.

    Its configuration lacks what methods have set (`exclude_from_weight_decay`), the count of steps,
    and what a subclass leaves out; a learning rate that is a lambda cannot be read from it.

    Raises:
        ValueError: it is built already, or cannot be copied.
    """
    if optimizer.built:
        raise ValueError(
            f"{name} must not be built to be copied for each discriminator, got {optimizer!r} with "
            "a state; give a dict with one for each."
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*includes a `lambda`")
            found = copy.deepcopy(optimizer)
    except Exception:  # Keras writes and reads the copy, and finds no class inside of a function
        try:
            found = type(optimizer).from_config(optimizer.get_config())
        except Exception as error:
            raise ValueError(
                f"{name} must be an optimizer that can be copied for each discriminator, or a dict "
                f"with one for each, got {optimizer!r}: {error}"
            ) from error
    _complete(found, optimizer)
    return found


def _complete(new, optimizer):
    """Give a copy what its configuration does not have, of the optimizer within it too."""
    if inner(optimizer) is not optimizer:
        _complete(inner(new), inner(optimizer))
    for mine, other in zip(new.variables, optimizer.variables, strict=False):
        if mine.path == other.path:
            mine.assign(ops.copy(other))  # on JAX they would share one array
    for name, value in beyond_config(new, optimizer).items():
        setattr(new, name, value)


def beyond_config(new: Any, optimizer: Any) -> dict[str, Any]:
    """Attributes of an optimizer that one made from its configuration has otherwise, or not.

    Only what is plain: numbers, text, patterns, functions, and collections of them.
    """
    return {
        name: _plain(value)
        for name, value in vars(optimizer).items()
        if _is_plain(value) and not _same(vars(new).get(name, _NOTHING), value)
    }


def settings(optimizer: keras.optimizers.Optimizer) -> Config:
    """What a file must hold of an optimizer beside its configuration: text, numbers, patterns.

    A warning says what no file can hold: variables that `exclude_from_weight_decay(var_list=...)`
    was given.
    """
    own = inner(optimizer)
    try:
        new = type(own).from_config(own.get_config())
    except Exception:  # Keras says by itself that a lambda cannot be read from a file
        return {}
    found: Config = {}
    for name, value in beyond_config(new, own).items():
        if isinstance(value, re.Pattern):
            found[name] = {"pattern": value.pattern}
        elif isinstance(value, (str, int, float)) and name != "built":
            found[name] = value
        elif isinstance(value, set) and value:
            warnings.warn(
                f"{own.name} was given variables that its file does not name ({name}); give their "
                "names instead, such as exclude_from_weight_decay(var_names=[...]).",
                stacklevel=2,
            )
    return found


def set_settings(optimizer: keras.optimizers.Optimizer, found: Config) -> None:
    """Give an optimizer from a file what `settings` found; what is none of its attributes stays."""
    own = inner(optimizer)
    for name, value in found.items():
        if not hasattr(type(own), name):  # no method: a file may be anybody's
            pattern = isinstance(value, dict)
            setattr(own, name, re.compile(value["pattern"]) if pattern else value)


_NOTHING = object()
_PLAIN = (str, int, float, bool, type(None), re.Pattern, np.generic)


def _is_plain(value):
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN) or inspect.isfunction(value)


def _plain(value):
    """`value`, a collection of Keras or TensorFlow as a new one of Python."""
    for kind in (dict, set, list):
        if isinstance(value, kind):
            return kind(value)
    return value


def _same(one, other):
    return type(_plain(one)) is type(_plain(other)) and one == other


def get_optimizer(name: str, given: Any) -> keras.optimizers.Optimizer:
    """A Keras optimizer from itself, its name or its configuration.

    Raises:
        ValueError: it is none that Keras knows.
    """
    try:
        found = keras.optimizers.get(given)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ValueError(f"{name} must be a Keras optimizer, got {given!r}.") from error
    if not isinstance(found, keras.optimizers.Optimizer):
        raise ValueError(f"{name} must be a Keras optimizer, got {given!r}.")
    return found


def _regularized(optimizer, gradients, variables):
    """The gradients, and those of the regularizers that variables have."""
    regularized = [v for v in variables if v.regularizer is not None]
    if not regularized:
        return gradients

    def penalties():
        return [optimizer.scale_loss(v.regularizer(v)) for v in regularized], None

    scaled, _, pull = backend.pullback(penalties, variables)
    own, _ = pull([ops.ones_like(penalty) for penalty in scaled])
    return [
        b if a is None else a if b is None else a + b for a, b in zip(gradients, own, strict=True)
    ]


def _all_finite(tensors):
    """Whether no entry of any tensor is NaN or infinite; None counts as finite."""
    # Only the values of a sparse gradient.
    parts = [getattr(x, "values", x) for x in keras.tree.flatten(tensors) if x is not None]
    if not parts:
        return ops.convert_to_tensor(True)
    return ops.all(ops.stack([ops.all(ops.isfinite(x)) for x in parts]))
