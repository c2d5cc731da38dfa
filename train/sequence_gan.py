"""SeqGAN on sequences of a random oracle, with the controls that its numbers need.

python -m train.sequence_gan --seeds 5

The oracle is an LSTM with weights from N(0, 1), whose samples are the data (Yu et al. 2017). For
each seed a generator is trained by maximum likelihood; then each method trains it for as many
updates: `teacher`, maximum likelihood; `final` and `per_step`, the two rewards of `SequenceGAN`;
`constant` and `random`, the reward `final` with an answer of 1/2 or a uniform one, which knows
nothing of the data. At the end it measures nats per token of the generator's samples under the
oracle, which do not see diversity; the NLL of held-out data; and the share of distinct samples; of
`teacher` also at temperatures below 1. Writes a run folder: config.json; for each seed seed_K.csv
(a row per method and temperature); results.csv with means over the seeds, and nll.png: nats under
the oracle over nats of held-out data. Ctrl-C saves; `--resume RUN` resumes an interrupted run to
the same rows: the method that was being trained from its last checkpoint, of which there is one
every 100 updates, and the pretraining from its beginning.
"""

import dataclasses
import pathlib
import time
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops
from matplotlib.figure import Figure

from mf_keras import SequenceGAN, SequenceGenerator, TeacherForcing, callbacks, checkpoints
from mf_keras.outputs import Categorical
from train.runs import resuming
from train.runs.folder import RunFolder, write_text
from train.runs.intervals import ProgressBar
from train.runs.memoryless import MemorylessCell
from train.runs.options import (
    Role,
    SeedsOptions,
    option,
    positive_float,
    positive_int,
)

METHODS = ("teacher", "final", "per_step", "constant", "random")
TEMPERATURES = (1.0, 0.9, 0.8, 0.7)
RESULTS = "results.csv"
SHOWN_EVERY, SAVED_EVERY = 20, 100  # updates
# Beyond those of runs. On TensorFlow Keras draws by seeds modulo 2^31 - 2: larger ones come again.
ORACLE_SEED, TEST_SEED, SAMPLE_SEED = 2**31, 2**31 - 4, 2**31 - 5


@dataclasses.dataclass(kw_only=True)
class Options(SeedsOptions):
    """The options of a run."""

    command = "train.sequence_gan"
    marker = "oracle_units"
    end = SAMPLE_SEED  # the seeds from here on are those of the test

    method: str = option("all", "always all", role=Role.RUN, choices=("all",))
    methods: tuple[str, ...] = option(METHODS, "what to compare", nargs="+", choices=METHODS)
    classes: int = option(100, "tokens; the paper has 5000", positive_int)
    length: int = option(10, "steps of a sequence; the paper has 20", positive_int)
    oracle_units: int = option(32, "of the oracle's LSTM", positive_int)
    units: int = option(32, "of the generator's LSTM, and size of its embedding", positive_int)
    sequences: int = option(10_000, "for training, and as many held out", positive_int)
    pretraining: int = option(30, "epochs of maximum likelihood", positive_int)
    updates: int = option(600, "of each method after that", positive_int)
    rollouts: int = option(4, "completions of each beginning; the paper has 16", positive_int)
    baseline: str = option("none", "of the rewards", choices=("none", "leave_one_out"))
    batch_size: int = option(64, "sequences", positive_int)
    learning_rate: float = option(1e-2, "of Adam, in pretraining", positive_float)
    adversarial_rate: float = option(1e-3, "of Adam, after it", positive_float)
    seeds: int = option(5, "how many trainings of each method", positive_int, role=Role.RUN)
    out: str = option("runs/sequence_gan", "run folder, new", role=Role.FILES)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.methods = tuple(self.methods)

    def check(self) -> None:
        """Refuse roll-outs where nothing is rewarded at the end."""
        super().check()
        at_the_end = {"final", "constant", "random"}
        if "rollouts" in self.not_default(Role.SETTING) and at_the_end.isdisjoint(self.methods):
            raise ValueError("argument --rollouts: --methods must have final, constant or random")

    def generator(self, units: int) -> SequenceGenerator:
        """An LSTM around embedded tokens."""
        cell = MemorylessCell(keras.layers.LSTMCell(units), self.classes, 1, 1, 1)
        return SequenceGenerator(cell, Categorical(self.classes, embedding=units))

    def oracle(self) -> SequenceGenerator:
        """The source of the data: all weights from N(0, 1)."""
        oracle, random = self.generator(self.oracle_units), np.random.default_rng(ORACLE_SEED)
        for variable in oracle.trainable_variables:
            variable.assign(random.normal(size=variable.shape))
        return oracle


@keras.saving.register_keras_serializable(package="mf_keras.train")
class UninformedGAN(SequenceGAN):
    """A SequenceGAN whose rewards do not come from its discriminator."""

    drawn = False  # whether they are random

    def _rewards(self, batch, samples):
        rewards, gains = super()._rewards(batch, samples)
        if not self.drawn:
            return rewards, 0.5 * ops.ones_like(gains)
        shape = ops.shape(gains)
        return rewards, keras.random.uniform(shape, seed=self.seed_generator, dtype=gains.dtype)


@keras.saving.register_keras_serializable(package="mf_keras.train")
class RandomGAN(UninformedGAN):
    """One whose rewards are random."""

    drawn = True


def make_model(method: str, generator: SequenceGenerator, options: Options, seed: int) -> Any:
    """The compiled model of a method."""
    if method == "teacher":
        model = TeacherForcing(generator)
        model.compile(keras.optimizers.Adam(options.adversarial_rate, clipnorm=5.0))
        return model
    kind = {"constant": UninformedGAN, "random": RandomGAN}.get(method, SequenceGAN)
    dense = {"reward": "per_step", "baseline": "critic", "discount": 0.9}
    baseline = None if options.baseline == "none" else options.baseline
    final = {"rollouts": options.rollouts, "baseline": baseline}
    model = kind(generator, **(dense if method == "per_step" else final), seed=seed)
    model.compile(
        keras.optimizers.Adam(options.adversarial_rate, clipnorm=5.0), keras.optimizers.Adam(1e-3)
    )
    return model


def measure(
    generator: SequenceGenerator,
    oracle: SequenceGenerator,
    held_out: np.ndarray,
    options: Options,
    temperature: float = 1.0,
) -> dict[str, float]:
    """Quality and diversity of samples, and the NLL of held-out data, at a temperature."""
    samples = generator.sample(len(held_out), options.length, SAMPLE_SEED, temperature)
    samples = np.asarray(samples)
    logits = generator(held_out) / temperature
    nll = generator.output.nll(held_out, logits)
    return {
        "oracle_nats": float(np.mean(oracle.nll(samples))) / options.length,
        "held_out_nats": float(np.mean(nll)) / options.length,
        "distinct": len(np.unique(samples, axis=0)) / len(samples),
    }


def pretrain(options: Options, seed: int, x: np.ndarray, path: pathlib.Path) -> SequenceGenerator:
    """The generator that all methods of a seed begin with, from its file or by training."""
    if path.exists():
        return checkpoints.load(path)
    keras.utils.set_random_seed(seed)
    generator = options.generator(options.units)
    model = TeacherForcing(generator)
    model.compile(keras.optimizers.Adam(options.learning_rate, clipnorm=5.0))
    per_epoch = -(-len(x) // options.batch_size)
    bar = ProgressBar(options.pretraining * per_epoch, ("nll",), "batch", per_epoch)
    fitted: dict[str, Any] = {"batch_size": options.batch_size, "verbose": 0, "callbacks": [bar]}
    model.fit(x, epochs=options.pretraining, **fitted)
    checkpoints.save_model(generator, path)
    return generator


def train(
    options: Options, method: str, seed: int, start: pathlib.Path, x: np.ndarray, path: pathlib.Path
) -> SequenceGenerator:
    """The generator that a method trains, from its last checkpoint to the end.

    Args:
        options: of the run.
        method: one of `METHODS`.
        seed: of noise and discriminator.
        start: file of the generator before.
        x: the sequences of all updates.
        path: of the checkpoint.

    Raises:
        KeyboardInterrupt: after saving.
    """
    generator = checkpoints.load(start)
    keras.utils.set_random_seed(seed)
    model = resuming.latest_or(make_model(method, generator, options, seed), path)
    left = x[model.trained_steps * options.batch_size :]
    bar = ProgressBar(options.updates, ("nll", "reward"), "update", SHOWN_EVERY)
    checkpoint = callbacks.Checkpoint(path, every=SAVED_EVERY)
    if len(left):
        fitted: dict[str, Any] = {"batch_size": options.batch_size, "verbose": 0}
        try:
            model.fit(left, shuffle=False, callbacks=[bar, checkpoint], **fitted)
        except KeyboardInterrupt:
            checkpoint.save()
            raise
    return model.generator


def run_seed(options: Options, seed: int, folder: RunFolder) -> None:
    """All methods from one pretrained generator, but for those that have rows already."""
    oracle, table = options.oracle(), folder / f"seed_{seed}.csv"
    x = np.asarray(oracle.sample(options.sequences, options.length, seed))
    held_out = np.asarray(oracle.sample(options.sequences, options.length, TEST_SEED))
    start = folder / f"seed_{seed}-pretrained.keras"
    print(f"seed {seed}, pretrained", flush=True)
    generator = pretrain(options, seed, x, start)
    if table.exists():
        rows = pd.read_csv(table).to_dict("records")
    else:
        data = {"oracle_nats": float(np.mean(oracle.nll(held_out))) / options.length}
        found = measure(generator, oracle, held_out, options)
        rows = [
            {"method": "data", "temperature": 1.0, **data, "distinct": _distinct(held_out)},
            {"method": "pretrained", "temperature": 1.0, **found},
        ]
    random = np.random.default_rng(seed)
    chosen = random.integers(len(x), size=(options.updates * options.batch_size,))
    for method in missing(options, seed, folder):
        print(f"seed {seed}, {method}", flush=True)
        last, began = folder / f"seed_{seed}-{method}-last.keras", time.time()
        generator = train(options, method, seed, start, x[chosen], last)
        seconds = round(time.time() - began, 1)
        for temperature in TEMPERATURES if method == "teacher" else (1.0,):
            found = measure(generator, oracle, held_out, options, temperature)
            row = {"method": method, "temperature": temperature, **found, "seconds": seconds}
            rows.append(row)
            print(f"seed {seed} {row}", flush=True)
        write_text(table, pd.DataFrame(rows).to_csv(index=False))
        checkpoints.remove(last)
    start.unlink()


def missing(options: Options, seed: int, folder: RunFolder) -> list[str]:
    """The methods of a seed that have no rows yet."""
    table = folder / f"seed_{seed}.csv"
    done = set(pd.read_csv(table)["method"]) if table.exists() else ()
    return [method for method in options.methods if method not in done]


def _distinct(x):
    return len(np.unique(x, axis=0)) / len(x)


def draw(means: pd.DataFrame) -> Figure:
    """Nats under the oracle over nats of held-out data, a mark for each method."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    points = means.dropna(subset="held_out_nats")[["held_out_nats", "oracle_nats"]]
    for marker, (method, found) in zip(
        "osD^vX", points.groupby("method", sort=False), strict=False
    ):
        axes.plot(*found.to_numpy().T, marker=marker, linewidth=0.8, markersize=6, label=method)
    for (_, temperature), point in points.iterrows():
        if temperature != 1.0:
            words = f"T = {temperature:g}"
            axes.annotate(
                words, point, (-7, -3), textcoords="offset points", ha="right", fontsize=8
            )
    axes.set_xlabel("held-out data under the model (nats per token)")
    axes.set_ylabel("samples under the oracle (nats per token)")
    axes.legend(fontsize=8)
    return figure


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment."""
    folder, options = resuming.new_or_resumed(Options.parse(arguments))
    seeds = options.all_seeds()
    with resuming.report_interruption(f"python -m {Options.command} --resume {folder.path}"):
        for seed in seeds:
            if missing(options, seed, folder):
                run_seed(options, seed, folder)
    rows = pd.concat([pd.read_csv(folder / f"seed_{seed}.csv") for seed in seeds])
    groups = rows.groupby(["method", "temperature"], sort=False)
    means = groups.mean(numeric_only=True)
    found = means.join(groups.std(numeric_only=True).add_suffix("_deviation"))
    write_text(folder / RESULTS, found.to_csv(float_format="%.4f"))
    folder.save_figure("nll.png", draw(means))
    print(means.round(3).to_string(na_rep=""))
    print(f"run folder: {folder.path}")


if __name__ == "__main__":
    main()
