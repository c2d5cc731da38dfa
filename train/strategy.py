"""Where a run trains: on one device, or on several of this machine; and by how many threads."""

import contextlib
import os

import tensorflow as tf

from train import options as shared

STRATEGIES = ("none", "mirrored")
FEW_SEQUENCES = 8


def add_options(parser):
    """The options that say on how many devices to train."""
    group = parser.add_argument_group("devices")
    group.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="none",
        help="mirrored: every batch is shared by several devices, to the same weights but for "
        "rounding; default: none",
    )
    group.add_argument(
        "--devices",
        metavar="N",
        type=shared.positive_int,
        help="with mirrored: how many; without GPUs the CPU is divided into so many; default: all",
    )


def make(options):
    """The strategy in whose scope the model is made; to be asked for before TensorFlow starts.

    Raises:
        ValueError: there are not so many devices, the batch is too small for them, or there is
            only one strategy that they go with.
    """
    use_few_threads(options.batch_size)
    # Runs from before there were strategies do not name one.
    name, count = getattr(options, "strategy", "none"), getattr(options, "devices", None)
    if name == "none":
        if count is not None:
            raise ValueError("--devices goes with --strategy mirrored, got --strategy none.")
        return tf.distribute.get_strategy()
    strategy = tf.distribute.MirroredStrategy(_devices(count))
    if options.batch_size < strategy.num_replicas_in_sync:
        raise ValueError(
            f"--batch-size must be at least the {strategy.num_replicas_in_sync} devices, "
            f"got {options.batch_size}."
        )
    return strategy


def use_few_threads(batch_size):
    """One thread an operation for batches of a few sequences; before TensorFlow starts.

    A step of batch 1 is thousands of operations of a microsecond each. Handing parts of them from
    thread to thread takes longer than doing them: on 2 cores the copy task trained 539 steps a
    second with two threads and 734 with one (`TF_NUM_INTRAOP_THREADS=2 python -m
    benchmarks.copy_task`, and the same with 1). What that variable says has precedence.
    """
    if batch_size >= FEW_SEQUENCES or "TF_NUM_INTRAOP_THREADS" in os.environ:
        return
    with contextlib.suppress(RuntimeError):  # TensorFlow has started: no process of one run alone
        tf.config.threading.set_intra_op_parallelism_threads(1)


def _devices(count):
    """The names of the first `count` devices; None for TensorFlow's choice, all of them."""
    if count is None:
        return None
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        cpu = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
        tf.config.set_logical_device_configuration(cpu, parts)
        return [f"CPU:{index}" for index in range(count)]
    if count > len(gpus):
        raise ValueError(f"--devices must be at most the {len(gpus)} GPUs, got {count}.")
    return [f"GPU:{index}" for index in range(count)]
