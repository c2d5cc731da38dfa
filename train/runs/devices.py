"""The devices of this machine that a run trains on, and its number of threads."""

import contextlib
import dataclasses
import os

import tensorflow as tf

from train.runs.options import Options, Role, option, positive_int

STRATEGIES = ("none", "mirrored")
FEW_SEQUENCES = 8


@dataclasses.dataclass(kw_only=True)
class DeviceOptions(Options):
    """On how many devices to train."""

    title = "devices"
    strategy: str = option(
        "none",
        "mirrored: several devices share every batch; the weights are the same except for rounding",
        role=Role.RUN,
        choices=STRATEGIES,
    )
    devices: int | None = option(
        None,
        "with --strategy mirrored: how many; without GPUs the CPU is divided into so many; "
        "default: all",
        positive_int,
        role=Role.RUN,
        metavar="N",
    )


def make_strategy(options: DeviceOptions, batch_size: int) -> tf.distribute.Strategy:
    """The strategy in whose scope the model is made; call it before TensorFlow starts.

    Raises:
        ValueError: there are not so many devices, the batch is too small for them, or they are
            given without the strategy that uses them.
    """
    use_few_threads(batch_size)
    if options.strategy == "none":
        if options.devices is not None:
            raise ValueError("--devices goes with --strategy mirrored, got --strategy none.")
        return tf.distribute.get_strategy()
    strategy = tf.distribute.MirroredStrategy(_devices(options.devices))
    if batch_size < strategy.num_replicas_in_sync:
        raise ValueError(
            f"--batch-size must be at least the {strategy.num_replicas_in_sync} devices, "
            f"got {batch_size}."
        )
    return strategy


def use_few_threads(batch_size: int) -> None:
    """Use one thread an operation for batches of a few sequences; call it before TensorFlow starts.

    A step of batch 1 is thousands of operations of a microsecond each. Dividing them between
    threads takes longer than computing them: on 2 cores the copy task trained 539 steps a second
    with two threads and 734 with one (`TF_NUM_INTRAOP_THREADS=2 python -m benchmarks.copy_task`,
    and the same with 1). That variable has precedence.
    """
    if batch_size >= FEW_SEQUENCES or "TF_NUM_INTRAOP_THREADS" in os.environ:
        return
    with contextlib.suppress(RuntimeError):  # TensorFlow has started, by code other than a command
        tf.config.threading.set_intra_op_parallelism_threads(1)


def _devices(count: int | None) -> list[str] | None:
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
