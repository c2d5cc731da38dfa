"""Writes a version of a model: the SavedModel, its warm-up requests, its card."""

from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from mf_keras import validation
from mf_keras.export import card as model_card
from mf_keras.export import warmup
from mf_keras.export.signatures import MAX_ROWS, endpoints
from mf_keras.export.version_folder import VersionFolder
from mf_keras.models import SequenceGenerator, presets
from mf_keras.types import Path

DEFAULT = "sample"  # the endpoint that `serving_default` names as well


def save(
    generator: SequenceGenerator,
    filepath: Any,
    length: int,
    card: dict[str, str] | None = None,
    overwrite: bool = False,
    jit_compile: bool = False,
    max_rows: int = MAX_ROWS,
    unequal_lengths: bool = False,
) -> None:
    """Write ROOT/NAME/VERSION, which TF Serving can serve; the write is atomic.

    Args:
        generator: what is served.
        filepath: ROOT/NAME/VERSION, where VERSION is an integer >= 1, e.g. `saved_models/digits/1`.
        length: T, the number of steps of every sequence.
        card: a dict of text by heading for the model card: data, method, NLL, command.
        overwrite: replace the version if it is there.
        jit_compile: let XLA compile the loop over time, anew for every batch size.
        max_rows: rows of a request at most.
        unequal_lengths: let `score` take the number of steps of every sequence.

    Raises:
        TypeError, ValueError: an argument has the wrong type or range, or `max_rows` is below the
            rows that the `batching.config` beside the version lets a server join.
        FileExistsError: the version is there, and `overwrite` is False.
    """
    length = validation.positive_int("length", length)
    overwrite = validation.boolean("overwrite", overwrite)
    jit_compile = validation.boolean("jit_compile", jit_compile)
    max_rows = validation.positive_int("max_rows", max_rows)
    unequal_lengths = validation.boolean("unequal_lengths", unequal_lengths)
    card = model_card.check(card)
    folder = VersionFolder(filepath)
    folder.check_free(overwrite)
    folder.check_batching(max_rows)
    given = endpoints(generator, length, jit_compile, max_rows, unequal_lengths)
    functions = {name: function.get_concrete_function() for name, function in given.items()}
    with folder.write(overwrite) as temporary:
        tf.saved_model.save(
            _Weights(generator),
            str(temporary),
            {"serving_default": functions[DEFAULT], **functions},
        )
        warmup.write(temporary, folder.name, functions, length)
        presets.save(generator, temporary)
        text = model_card.text(
            folder, generator, length, jit_compile, max_rows, unequal_lengths, card
        )
        (temporary / "model_card.md").write_text(text, encoding="utf-8")
    folder.write_configs(max_rows)


def length_of(folder: Path) -> int | None:
    """T of an exported version, the number of steps of its sequences.

    Args:
        folder: the version's, such as saved_models/digits/1.

    Returns:
        None where the folder holds no SavedModel.

    Raises:
        ValueError: its SavedModel is another one's, or damaged.
    """
    file = validation.path("folder", folder) / "saved_model.pb"
    if not file.is_file():
        return None
    try:
        graph = saved_model_pb2.SavedModel.FromString(file.read_bytes()).meta_graphs[0]
        shape = graph.signature_def["score"].inputs["sequences"].tensor_shape
        return int(shape.dim[1].size)
    except (DecodeError, IndexError) as error:
        raise ValueError(f"folder must hold an export, which {folder} does not.") from error


class _Weights(tf.Module):
    """What the SavedModel holds: weights, and nothing else of Keras, no optimizer, no name."""

    def __init__(self, generator):
        super().__init__()
        self.weights = [variable.value for variable in generator.variables]
