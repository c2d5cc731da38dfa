"""Which parts of a layer are frozen, kept in its configuration: Keras keeps one flag a layer."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from mf_keras.types import Config, Function


class KeepsFrozenParts:
    """What a layer inherits from, before `keras.layers.Layer`, to keep the flags of its parts.

    A layer that makes its sublayers itself has one entry `trainable` in its configuration, so that
    a part that was frozen (`cell.interface.trainable = False`) would train again after it was
    loaded. Where parts have other flags than the layer, the configuration has `trainable_parts`: a
    dict, path of attributes ("interface", "dense.0") -> flag. The flags are set again when the
    layer is built, so before an optimizer can be.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """A layer whose `build` ends with setting flags, whatever the subclass."""
        layer: Any = super().__new__(cls, *args, **kwargs)
        layer.build = _settling(layer, layer.build)  # as Keras does, for every subclass
        return layer

    def __init__(
        self, *args: Any, trainable_parts: Mapping[str, bool] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._trainable_parts = dict(trainable_parts or {})

    def get_config(self) -> Config:
        """The configuration, with `trainable_parts` where there are any to name."""
        config = super().get_config()  # type: ignore[misc]  # of the layer
        parts = {**self._trainable_parts, **_exceptions(self)}
        return {**config, "trainable_parts": parts} if parts else config


def _settling(layer: Any, build: Function) -> Function:
    """`build`, after which new variables and named parts have the flags that they should."""

    @functools.wraps(build)
    def run(*args: Any, **kwargs: Any) -> None:
        new = [part for part in _parts(layer).values() if not part.built]
        build(*args, **kwargs)
        for part in (layer, *new):
            if not part.trainable:
                _set(part, False)
        parts = {**_parts(layer), **_own_variables(layer)}
        for path in sorted(set(parts) & set(layer._trainable_parts), key=lambda p: p.count(".")):
            _set(parts[path], layer._trainable_parts[path])
        layer._trainable_parts = {}

    return run


def _set(part: Any, flag: bool) -> None:
    part.trainable = not flag  # Keras hands it on to sublayers and variables only where it changes
    part.trainable = flag


def _exceptions(layer: keras.layers.Layer) -> dict[str, bool]:
    """Path -> flag of the parts whose flag is not that of the layer that they belong to."""
    flags = {"": layer.trainable}
    flags |= {path: part.trainable for path, part in _parts(layer).items()}
    flags |= {name: variable.trainable for name, variable in _own_variables(layer).items()}
    return {
        path: flag for path, flag in flags.items() if path and flag != flags[_owner(path, flags)]
    }


def _owner(path: str, flags: Mapping[str, bool]) -> str:
    """The path of the layer that the part at `path` belongs to."""
    owner = path.rpartition(".")[0]
    while owner not in flags:  # the place in a list is no layer
        owner = owner.rpartition(".")[0]
    return owner


def _parts(layer: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """Path of attributes -> every layer below this one, once; a layer before what is in it."""
    found: dict[str, keras.layers.Layer] = {}
    known = {id(layer)}

    def visit(prefix: str, parent: keras.layers.Layer) -> None:
        for name, part in _layers_in(vars(parent)):
            if id(part) not in known:
                known.add(id(part))
                found[prefix + name] = part
                visit(f"{prefix}{name}.", part)

    visit("", layer)
    return found


def _layers_in(attributes: Any) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Pairs (path, layer) of the layers in a dict or list, and in those in it."""
    pairs = attributes.items() if isinstance(attributes, dict) else enumerate(attributes)
    # Public attributes first: Keras' own lists have the same layers.
    for name, value in sorted(pairs, key=lambda pair: str(pair[0]).startswith("_")):
        if isinstance(value, keras.layers.Layer):
            yield str(name), value
        elif isinstance(value, (dict, list, tuple)):
            yield from ((f"{name}.{path}", part) for path, part in _layers_in(value))


def _own_variables(layer: keras.layers.Layer) -> dict[str, keras.Variable]:
    """Name -> variable of the layer itself, such as a learned initial memory."""
    return {name: value for name, value in vars(layer).items() if isinstance(value, keras.Variable)}
