"""What `keras.ops` lacks: gradients, branches that assign variables, concrete tensors, rows."""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from mf_keras.types import ArrayLike, Function, Structure, Tensor


class Scope(keras.StatelessScope):
    """A `keras.StatelessScope` that knows all that the one around it knows, and what it assigned.

    A scope of Keras' own forgets the one around it. While `fit` runs, variables have values within
    scopes only.

    Args:
        variables: Keras variables that have other values within.
        values: their values.
        known: further values, by the ids of their variables.

    Attributes:
        assigned: the variables that were assigned within, by their ids.
    """

    def __init__(
        self,
        variables: Iterable[keras.Variable] = (),
        values: Iterable[Tensor] = (),
        known: Mapping[int, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.assigned: dict[int, keras.Variable] = {}
        own = {id(v): x for v, x in zip(variables, values, strict=True)}
        self._own = {**(known or {}), **own}

    def __enter__(self) -> "Scope":
        super().__enter__()
        outer = self.original_scope  # the scope around this one, or None
        self.state_mapping = {**(outer.state_mapping if outer else {}), **self._own}
        return self

    def add_update(self, update: tuple[keras.Variable, Tensor]) -> None:
        """Called by Keras, where a variable is assigned."""
        super().add_update(update)
        self.assigned[id(update[0])] = update[0]


def known_values() -> dict[int, Tensor]:
    """The values that variables have in the scope around, by their ids; none outside of scopes."""
    with Scope() as scope:
        return dict(scope.state_mapping)


def pullback(
    function: Function, variables: Sequence[Any], sources: Sequence[Tensor] = ()
) -> tuple[list[Tensor], Any, Function]:
    """`function(*sources)`, and the function that pulls cotangents of its targets back.

    Args:
        function: gives `(targets, aux)`, a list of tensors and a nested structure of tensors. It
            may assign variables.
        variables: Keras variables that are to get gradients.
        sources: tensors that are to get gradients.

    Returns:
        `(targets, aux, pull)`. `pull(cotangents)`, one for each target, gives
        `(to_variables, to_sources)`: the gradients of sum(target x cotangent), zeros where a target
        does not depend on a variable.
    """
    variables = list(variables)
    assigned: dict[int, keras.Variable] = {}

    def pure(values, sources):
        with Scope(variables, values) as scope:
            targets, aux = function(*sources)
        assigned.update(scope.assigned)
        changed = [scope.get_current_value(v) for v in scope.assigned.values()]
        return list(targets), (aux, changed)

    values = [v.value for v in variables]
    targets, pull, (aux, changed) = jax.vjp(pure, values, list(sources), has_aux=True)
    for variable, value in zip(assigned.values(), changed, strict=True):
        variable.assign(value)

    def pull_back(cotangents: Sequence[Tensor]) -> Any:
        pairs = zip(cotangents, targets, strict=True)
        return pull([jnp.asarray(c, dtype=t.dtype) for c, t in pairs])

    return targets, aux, pull_back


def cond(predicate: Tensor, true_fn: Function, false_fn: Function) -> Any:
    """One of two functions, which give tensors of one structure and may assign variables."""
    if is_concrete(predicate):
        return true_fn() if bool(predicate) else false_fn()
    assigned: dict[int, keras.Variable] = {}

    def tried(function):
        with Scope() as scope:
            result = function()
        assigned.update(scope.assigned)
        return result

    for function in (true_fn, false_fn):
        jax.eval_shape(functools.partial(tried, function))  # to find what they assign
    variables = list(assigned.values())

    def run(function):
        with Scope():
            result = function()
            return result, [v.value for v in variables]

    branches = [functools.partial(run, function) for function in (true_fn, false_fn)]
    result, values = jax.lax.cond(predicate, *branches)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return result


# The parts of the state that Keras gives a step of each kind, in its order.
_STATE = {
    "train_step": ("trainable", "non_trainable", "optimizer", "metrics"),
    "test_step": ("trainable", "non_trainable", "metrics"),
    "predict_step": ("trainable", "non_trainable"),
}


def step(function: Function) -> Function:
    """A decorator for the training, test and prediction steps of a `Forcing`.

    Keras' trainer for JAX calls a step with the values of all variables, and takes their values
    after it. In the decorated method variables are read and assigned as on other frameworks.
    """
    parts = _STATE[function.__name__]

    @functools.wraps(function)
    def run(self, state, data):
        variables = {
            "trainable": self.trainable_variables,
            "non_trainable": self.non_trainable_variables,
            "optimizer": self.optimizer.variables if "optimizer" in parts else (),
            "metrics": self.metrics_variables,
        }
        groups = [variables[part] for part in parts]
        flat = [v for group in groups for v in group]
        with Scope(flat, [x for values in state for x in values]) as scope:
            result = function(self, data)
        state = tuple([scope.get_current_value(v) for v in group] for group in groups)
        return result, (state if "metrics" in parts else state[1])

    return run


def unknown_to_keras(optimizers: Iterable[keras.optimizers.Optimizer | None]) -> list[Any]:
    """The variables of further optimizers, which must be among those of the model.

    Keras' trainer for JAX takes all others for constants.
    """
    return [v for optimizer in optimizers if optimizer is not None for v in optimizer.variables]


@contextlib.contextmanager
def keeping_values(model: keras.Model) -> Iterator[None]:
    """Within, an error leaves no variable of the model without a value.

    While its trainer for JAX runs, Keras takes the values from the variables. Where the first step
    fails, as for a batch that is refused, it does not give them back, and where a later one fails,
    only `fit` does.
    """
    variables = [*model.variables, *model.non_trainable_variables, *model.metrics_variables]
    if model.compiled:
        variables += model.optimizer.variables
    before = [(variable, variable.value) for variable in variables]
    try:
        yield
    except BaseException:
        model.jax_state_sync()
        for variable, value in before:
            try:
                _ = variable.value
            except TypeError:  # it has none
                variable.assign(value)
        raise


def after(tensors: Sequence[Tensor]) -> Any:
    """A context in which nothing is special: XLA orders what does not depend on each other."""
    del tensors
    return contextlib.nullcontext()


def to_tensor(name: str, value: ArrayLike) -> Tensor:
    """`value` as a tensor.

    Raises:
        TypeError: it cannot be one.
        ValueError: an integer does not fit into 32 bits.
    """
    wrong = f"{name} must be a tensor of numbers, got {type(value).__name__}."
    if isinstance(value, (int, list, tuple, np.ndarray)) and not jax.config.jax_enable_x64:
        _check_32_bits(name, value)
    try:
        tensor = keras.ops.convert_to_tensor(value)
        if isinstance(tensor, keras.Variable):
            tensor = tensor.value
    except Exception as error:
        raise TypeError(wrong) from error
    if not isinstance(tensor, jax.Array) or jnp.iscomplexobj(tensor):
        raise TypeError(wrong)
    return tensor


def _check_32_bits(name, value):
    """Raise ValueError for integers that JAX would wrap without a word."""
    try:
        array = np.asarray(value)
    except ValueError:  # of rows of unequal lengths, which is refused later
        return
    if array.dtype.kind in "iu" and array.size:
        limits = np.iinfo("int32" if array.dtype.kind == "i" else "uint32")
        if array.max() > limits.max or array.min() < limits.min:
            raise ValueError(
                f"{name} must hold integers of 32 bits, as JAX has no others by default, got "
                f"{array.min()} to {array.max()}."
            )


def required(tensors: Structure, right: Tensor, words: str, value: Tensor) -> Structure:
    """`tensors`, where a condition is to hold.

    What JAX compiles has no assertions: there nothing is checked.

    Args:
        tensors: a nested structure of tensors; None stays None.
        right: bools, which must all be True.
        words: the message where one is not.
        value: what to show of it then.

    Raises:
        ValueError: the values are known, and the condition does not hold.
    """
    if is_concrete(right) and not bool(jnp.all(right)):
        raise ValueError(f"{words} {value}")
    return tensors


def is_concrete(tensor: Tensor) -> bool:
    """Whether the tensor has values now, rather than in a function that is being traced."""
    return isinstance(tensor, jax.Array) and not isinstance(tensor, jax.core.Tracer)


def read_rows(variable: keras.Variable, rows: Tensor) -> Tensor:
    """Rows of a Keras variable, (n, ...).

    Args:
        variable: a Keras variable (m, ...).
        rows: (n,) of integers.
    """
    return jnp.take(variable.value, rows, axis=0)


def write_rows(variable: keras.Variable, rows: Tensor, values: Tensor, in_place: bool) -> None:
    """Set rows of a Keras variable; XLA does it in place where `fit` gives the old value away.

    Args:
        variable: a Keras variable (m, ...).
        rows: (n,) of integers, none of them twice.
        values: (n, ...).
        in_place: of no meaning here.
    """
    del in_place
    value = variable.value
    variable.assign(value.at[rows].set(values.astype(value.dtype)))


def has_state(variable: keras.Variable) -> bool:
    """False: an assignment never changes an array of JAX."""
    del variable
    return False


def needs_tensorflow(what: str, instead: str) -> None:
    """Refuse what only TensorFlow has.

    Args:
        what: the part of this package.
        instead: a sentence that says what to do.

    Raises:
        ImportError: always, on JAX.
    """
    raise ImportError(
        f"{what} needs Keras to run on TensorFlow, but its backend is 'jax'. {instead}"
    )
