"""Train an RL-NTM on tapes by the authors' curriculum (Zaremba and Sutskever 2015).

python -m train.rl_ntm --task repeat_copy --seeds 5
python -m train.rl_ntm --task reverse --seeds 5

Examples have a level, their number of symbols. A batch has 10 % of examples of any level, 25 % of
the rest up to the current level and a geometric number beyond, the others at exactly that. The
level goes up when the moving average of the share of wrong symbols at that level is below the
threshold, at least so many updates after the last time. A seed succeeds that has the highest level
below the threshold. Writes a run folder: config.json; for each seed seed_K.csv (a row per interval
of 20 updates: level, errors per symbol at it and over all levels, return, entropy, seconds),
seed_K.keras, the policy, and seed_K.png, the paths of the heads in one example; results.json. The
authors' code reaches 6.6 to 8 % wrong symbols of two repetitions of 13 symbols in 2000 updates, and
30 to 50 % of its seeds succeed. Ctrl-C saves; `--resume RUN` resumes an interrupted run from its
last checkpoint, of which there is one every 10 intervals, to the same weights and rows.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mf_keras import Policy, Reinforce, TapeCell, checkpoints, data
from mf_keras.environments import Tapes
from mf_keras.models import Episodes
from train.runs import resuming
from train.runs.folder import RunFolder
from train.runs.intervals import Intervals, Row
from train.runs.options import (
    Role,
    SeedsOptions,
    fraction,
    option,
    positive_float,
    positive_int,
)

RESULTS = "results.json"
INTERVAL = 20  # updates of a row of the history
ANY_LEVEL, UP_TO_LEVEL = 0.1, 0.25  # shares of a batch, the second one of what the first one leaves
AVERAGE = 0.3  # decay of the moving average of errors, an interval; the authors: 0.8 an update
TEST_EXAMPLES, TEST_SEED = 200, 2**31


@dataclasses.dataclass(kw_only=True)
class Options(SeedsOptions):
    """The options of a run."""

    command = "train.rl_ntm"
    marker = "threshold"

    task: str = option("repeat_copy", "what to write", choices=data.TAPE_TASKS)
    length: int = option(5, "symbols of an example, at most", positive_int)
    symbols: int = option(10, "kinds of symbols, that of the end included", positive_int)
    repeats: int = option(2, "of repeat_copy, at most: 2 or 3", positive_int)
    method: str = option("direct", "the controller", role=Role.RUN, choices=("direct", "plain"))
    controller_units: int = option(25, "of the LSTM", positive_int)
    memory_size: int = option(20, "cells of the memory tape", positive_int)
    batch_size: int = option(200, "examples", positive_int)
    learning_rate: float = option(5e-3, "of Adam; the authors use SGD", positive_float)
    entropy: float = option(0.02, "weight of the entropy of the actions", positive_float)
    threshold: float = option(0.2, "share of wrong symbols below which the level goes up", fraction)
    patience: int = option(
        20, "updates between two levels, at least; the authors: 100", positive_int
    )
    updates: int = option(1000, f"a multiple of {INTERVAL}", positive_int, role=Role.RUN)
    out: str = option("", "run folder, new; default: runs/rl_ntm-TASK", role=Role.FILES)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.out = self.out or f"runs/rl_ntm-{self.task}"

    def check(self) -> None:
        """Refuse numbers that do not go together."""
        super().check()
        if self.updates % INTERVAL:
            raise ValueError(f"argument --updates: must be a multiple of {INTERVAL}")
        if "repeats" in self.not_default(Role.SETTING) and self.task != "repeat_copy":
            raise ValueError(f"argument --repeats: goes with --task repeat_copy, not {self.task}")
        if self.symbols < 3 or self.repeats not in (2, 3):
            raise ValueError("argument --symbols, --repeats: must be at least 3, and 2 or 3")

    @property
    def sizes(self) -> tuple[int, int]:
        """Lengths of the tapes."""
        size, number = data.tape_sizes(self.task, self.length)
        return size, self.length * self.repeats if self.task == "repeat_copy" else number

    def environment(self) -> Tapes:
        """Tapes with as many steps as reading, going back and writing take."""
        size, number = self.sizes
        forward = self.task == "forward_reverse"
        return Tapes(self.symbols, size, number, steps=size + number + 2, force_forward=forward)

    def examples(self, lengths: np.ndarray, seed: int) -> np.ndarray:
        """Tasks of the environment with these numbers of symbols."""
        options = lengths, self.length, self.symbols, seed, (2, self.repeats)
        return data.tape_examples(self.task, *options)[:, : sum(self.sizes)]


def curriculum(level: int, count: int, longest: int, random: np.random.Generator) -> np.ndarray:
    """The levels of a batch, (count,) of integers."""
    beyond = np.minimum(level + random.geometric(0.5, size=count) - 1, longest)
    up_to = 1 + (random.random(count) * beyond).astype(int)
    found = np.where(random.random(count) < UP_TO_LEVEL, up_to, beyond)
    anything = random.integers(1, longest + 1, size=count)
    return np.where(random.random(count) < ANY_LEVEL, anything, found)


def make_model(options: Options, seed: int) -> Reinforce:
    """The compiled model of one seed, with a recurrent critic as the authors' baseline."""
    keras.utils.set_random_seed(seed)
    environment = options.environment()
    cell = TapeCell(
        keras.layers.LSTMCell(options.controller_units),
        environment.actions.size + options.symbols,
        options.memory_size,
        options.symbols,
        direct_access=options.method == "direct",
    )
    policy = Policy(cell, environment)
    model = Reinforce(policy, baseline="critic", entropy=options.entropy, seed=seed)
    optimizer = keras.optimizers.Adam(options.learning_rate, clipnorm=2.0)
    model.compile(optimizer, keras.optimizers.Adam(1e-2, clipnorm=5.0))
    return model


def errors_of(model: Reinforce, options: Options, level: int) -> float:
    """The share of wrong symbols in new examples of a level, with drawn moves."""
    x = options.examples(np.full(TEST_EXAMPLES, level), TEST_SEED)
    logs = model.test_on_batch(x, return_dict=True)
    return float(logs["symbol_errors"])


@dataclasses.dataclass
class Lessons:
    """Where a training is in the curriculum, which follows from the errors of its intervals.

    Attributes:
        level: the current one.
        average: moving average of the share of wrong symbols at the level; 1 before the first.
        last: update of the last change of the level.
        solved_at: the update at which the highest level was below the threshold; None before.
    """

    level: int = 1
    average: float = 1.0
    last: int = 0
    solved_at: int | None = None

    def add(self, update: int, errors: float, options: Options) -> None:
        """Count the errors at the level after an interval, and perhaps go to the next level."""
        if self.average < 1.0:
            errors = AVERAGE * self.average + (1.0 - AVERAGE) * errors
        self.average = errors
        if errors < options.threshold and update - self.last >= options.patience:
            if self.level == options.length:
                self.solved_at = self.solved_at or update
            else:
                self.level, self.average, self.last = self.level + 1, 1.0, update


def train(options: Options, seed: int, folder: RunFolder) -> tuple[Intervals, Lessons]:
    """Train one seed from its last checkpoint to the end."""
    count, shown = options.updates // INTERVAL, ("level", "level_errors", "return")
    new = make_model(options, seed)
    training = Intervals(new, folder, f"seed_{seed}", count, INTERVAL, shown)
    model, lessons, random = training.model, Lessons(), np.random.default_rng(seed)

    def drawn() -> list[tuple[np.ndarray, int]]:
        """Levels and seeds of the batches of an interval."""
        size, longest = options.batch_size, options.length
        return [
            (curriculum(lessons.level, size, longest, random), int(random.integers(2**32)))
            for _ in range(INTERVAL)
        ]

    for row in training.rows:
        drawn()
        lessons.add(row["update"], row["level_errors"], options)

    def advance(interval: int, done: int) -> None:
        for lengths, seed_of_batch in drawn()[done:]:
            model.reset_metrics()  # a row has the logs of its last update
            model.train_on_batch(options.examples(lengths, seed_of_batch), return_dict=True)

    def measure(interval: int, logs: Row) -> Row:
        update, level = (interval + 1) * INTERVAL, lessons.level
        errors = errors_of(model, options, level)
        lessons.add(update, errors, options)
        return {"update": update, "level": level, "level_errors": errors, **logs}

    training.run(advance, measure)
    return training, lessons


def draw_paths(episodes: Episodes, options: Options, x: np.ndarray) -> Figure:
    """The heads of one episode over their tapes, step by step.

    Args:
        episodes: of one row.
        options: of the run.
        x: (1, L + M), its task.
    """
    actions = np.asarray(episodes.actions)[0]
    steps = int(np.asarray(episodes.running)[0].sum())
    size, _ = options.sizes
    moves = np.concatenate([[0], actions[: steps - 1, 1] - 1])
    heads = {
        "input tape": (np.eye(size)[np.cumsum(moves) % size], x[0, :size]),
        "memory tape": (np.asarray(episodes.trace.read_weights)[0, :steps, 0], None),
    }
    written = np.cumsum(actions[:steps, 0]) - 1
    output = np.zeros((steps, options.sizes[1]))
    output[actions[:steps, 0] == 1, written[actions[:steps, 0] == 1]] = 1.0
    heads["output tape"] = (output, x[0, size:])
    figure = Figure(figsize=(9, 0.25 * steps + 1.4), layout="constrained")
    for axes, (name, (path, symbols)) in zip(figure.subplots(1, 3), heads.items(), strict=True):
        axes.imshow(path, cmap="gray_r", vmin=0.0, vmax=1.0, aspect="auto")
        axes.set_title(name, fontsize=9)
        axes.set_ylabel("step", fontsize=8)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        if symbols is not None:
            axes.set_xticks(range(len(symbols)), [str(s) if s >= 0 else "" for s in symbols])
        axes.tick_params(labelsize=7)
    return figure


def run_seed(options: Options, seed: int, folder: RunFolder, results: dict[str, Any]) -> None:
    """Train and draw one seed, and add it to the results."""
    print(f"seed {seed}", flush=True)
    training, lessons = train(options, seed, folder)
    model, seconds = training.model, training.rows[-1]["seconds"]
    checkpoints.save_model(model.policy, folder / f"seed_{seed}.keras")
    by_level = [errors_of(model, options, each) for each in range(1, options.length + 1)]
    found = {"level": lessons.level, "succeeded_at": lessons.solved_at, "errors": by_level}
    results[str(seed)] = {**found, "seconds": seconds}
    folder.write_json(RESULTS, results)
    training.finish()
    x = options.examples(np.full(1, options.length), TEST_SEED)
    episodes = model.policy.run(x, seed=0, temperature=0.0)
    folder.save_figure(f"seed_{seed}.png", draw_paths(episodes, options, x))
    errors = " ".join(f"{100 * each:.1f}" for each in by_level)
    print(f"seed {seed}: level {found['level']}, succeeded at {found['succeeded_at']}, % {errors}")


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment."""
    folder, options = resuming.new_or_resumed(Options.parse(arguments))
    results = folder.read_json(RESULTS) if (folder / RESULTS).exists() else {}
    with resuming.report_interruption(f"python -m {Options.command} --resume {folder.path}"):
        for seed in options.all_seeds():
            if str(seed) not in results:
                run_seed(options, seed, folder, results)
    succeeded = [each["succeeded_at"] for each in results.values() if each["succeeded_at"]]
    print(f"{len(succeeded)} of {len(results)} seeds succeeded, at updates {sorted(succeeded)}")
    print(f"run folder: {folder.path}")


if __name__ == "__main__":
    main()
