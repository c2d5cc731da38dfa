"""`fit` and the other methods that take data, on checked data."""

import functools
import inspect
import types
from collections.abc import Mapping
from typing import Any

import keras

from mf_keras import backend, validation
from mf_keras.backend import datasets
from mf_keras.callbacks.progress import ProgressLine
from mf_keras.callbacks.stopping import checked_callbacks, with_stop
from mf_keras.forcing.data import GeneratorData, names_of, with_weights
from mf_keras.models.streams import checked_stream
from mf_keras.types import Function


def _is_stream(x):
    """Whether batches are drawn from x one by one."""
    return isinstance(x, (keras.utils.PyDataset, types.GeneratorType)) or datasets.is_distributed(x)


def _has_no_end(x):
    """Whether batches would be drawn from x for ever."""
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches is None
    return datasets.is_endless(x)


def _check_ends(arguments, steps):
    """Raise ValueError where nothing says when to stop drawing from a stream without an end.

    Args:
        arguments: those of the method, by name.
        steps: the argument that counts the batches of `x`.
    """
    for name, argument in (("x", steps), ("validation_data", "validation_steps")):
        if arguments.get(argument) is None and _has_no_end(arguments.get(name)):
            raise ValueError(
                f"{argument} must be given, as {name} never ends: got None, and a "
                f"{type(arguments[name]).__name__}."
            )


def stream_checks(data: GeneratorData, name: str) -> tuple[Function, str]:
    """What must be true of the batches of a dataset; see `datasets.checked`."""
    streamed = names_of(name, streamed=True)._replace(targets=name)
    words = f"{name} must have as many sequences and steps in all its parts, got"
    return functools.partial(data.conditions, streamed), words


def checked_data(data: GeneratorData, name: str, x: Any, y: Any, sample_weight: Any) -> Any:
    """`x`: an array that is checked now, or a stream that is checked as it is drawn.

    Raises:
        TypeError: x is nothing that holds sequences of numbers, such as a list.
        ValueError: a shape, or a value of an array, is wrong.
    """
    names = names_of(name)
    if x is None:
        raise ValueError(f"{name} must be given, got None.")
    if datasets.is_dataset(x):
        data.batch(datasets.spec_of(name, x), f"a batch of {name}")
        return datasets.with_checks(x, *stream_checks(data, name))
    if _is_stream(x):

        def check(batch):
            data.check_arrays(names, *keras.utils.unpack_x_y_sample_weight(batch))
            return batch

        return checked_stream(x, check)
    data.check_arrays(names, x, y, sample_weight)
    return x


def checked_inputs(data: GeneratorData, x: Any) -> Any:
    """`x` of a prediction, like that of `checked_data`, without targets."""
    if x is None:
        raise ValueError("x must be given, got None.")
    if datasets.is_dataset(x):
        data.inputs(datasets.spec_of("x", x), "a batch of x")
        return datasets.with_checks(x, lambda parts, _: data.conditions_of_inputs("x", parts[0]))
    if _is_stream(x):

        def check(batch):
            data.check_inputs(batch[0] if isinstance(batch, tuple) else batch)
            return batch

        return checked_stream(x, check)
    data.check_inputs(x)
    return x


def checked_validation_data(data: GeneratorData, given: Any) -> Any:
    """The `validation_data` of `fit`, like `x` of `checked_data`."""
    if isinstance(given, (tuple, list)):
        if not 1 <= len(given) <= 3:
            raise ValueError(
                f"validation_data must be (x, y, sample_weight), got {len(given)} part(s)."
            )
        x, y, sample_weight = (*given, None, None)[:3]
        checked_data(data, "validation_data", x, y, sample_weight)
        return (
            given if y is not None or sample_weight is None else (with_weights(x, sample_weight),)
        )
    return checked_data(data, "validation_data", given, None, None)


def checked(method: Function) -> Function:
    """A method of `keras.Model` that takes data, on checked data.

    Its model has `data`, a `GeneratorData` or `TransducerData`, `logs`, and
    `build_for(x, training)`. Of arrays all is checked before anything else is done; of a dataset or
    another stream the shapes at once, where they are known, and the values as they come; of the
    datasets of a strategy within the steps.

    Args:
        method: `keras.Model.fit`, `evaluate`, `predict`, or one of those of one batch.
    """
    signature = inspect.signature(method)
    predicts = method.__name__.startswith("predict")
    of_one_batch = method.__name__.endswith("_on_batch")

    @functools.wraps(method)
    def run(self, *args, **kwargs):
        bound = signature.bind(self, *args, **kwargs)
        given = bound.arguments
        validation.counts(given)
        _check_class_weight(given)
        x, y, sample_weight = (given.get(name) for name in ("x", "y", "sample_weight"))
        if of_one_batch and (datasets.is_dataset(x) or _is_stream(x)):
            raise TypeError(f"x must be one batch, an array or a tensor, got {type(x).__name__}.")
        _check_ends(given, "steps_per_epoch" if method.__name__ == "fit" else "steps")
        _check_strategy(self, given)
        if "callbacks" in signature.parameters:
            complete = with_stop if method.__name__ == "fit" else checked_callbacks
            listed = complete(given.get("callbacks"))
            give_directions(listed, self.logs.directions)
            if not predicts and given.get("verbose", "auto") != 0:
                listed = _with_progress_line(listed, self.logs.line)
            given["callbacks"] = listed
        if predicts:
            given["x"] = checked_inputs(self.data, x)
        else:
            given["x"] = checked_data(self.data, "x", x, y, sample_weight)
            if y is None and sample_weight is not None:  # Keras would leave them out
                given["x"] = with_weights(given["x"], given.pop("sample_weight"))
        if given.get("validation_data") is not None:
            given["validation_data"] = checked_validation_data(self.data, given["validation_data"])
        drawn = datasets.is_dataset(x) or datasets.is_distributed(x) or _has_no_end(x)
        drawn = drawn or isinstance(x, types.GeneratorType)
        if drawn and "shuffle" in signature.parameters:  # Keras' default only makes it warn
            given.setdefault("shuffle", False)
        self.build_for(x, training=not (predicts or method.__name__.startswith(("eval", "test"))))
        with backend.keeping_values(self):
            return method(*bound.args, **bound.kwargs)

    return run


def _with_progress_line(callbacks, choose):
    """The callbacks and a `ProgressLine`, unless the user has a progress line or a whole list."""
    whole = isinstance(callbacks, keras.callbacks.CallbackList)
    if whole or any(isinstance(each, keras.callbacks.ProgbarLogger) for each in callbacks):
        return callbacks
    return [*callbacks, ProgressLine(choose)]


def give_directions(callbacks: Any, directions: Mapping[str, str]) -> None:
    """Say which way a log is better to the callbacks that compare one, where the user did not.

    Keras finds that out by itself only for the metrics of `compile`. Of `EarlyStopping`,
    `ModelCheckpoint`, `ReduceLROnPlateau` and others like them, `monitor` is read and `mode` is
    set, where it is "auto".

    Args:
        callbacks: a list of them, or a `CallbackList`.
        directions: name of a log -> "min" or "max".
    """
    for callback in getattr(callbacks, "callbacks", callbacks):
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and getattr(callback, "mode", None) == "auto":
            callback.mode = directions.get(monitor.removeprefix("val_"), "auto")


def _check_strategy(model, arguments):
    """Raise ValueError for a strategy's dataset where the model belongs to no strategy."""
    for name in ("x", "validation_data"):
        if datasets.is_distributed(arguments.get(name)) and not model.distributed:
            raise ValueError(
                f"{name} is the dataset of a tf.distribute strategy, so that the model must be "
                f"created in its scope; got a {type(arguments[name]).__name__}."
            )


def _check_class_weight(arguments):
    """Check what makes no sense here."""
    if arguments.get("class_weight") is not None:
        raise TypeError(
            "class_weight must not be given: a sequence as a whole has no class; "
            f"got {arguments['class_weight']!r}."
        )
