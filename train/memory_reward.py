"""Whether a memory like that of successful episodes is a useful reward, where rewards are rare.

python -m train.memory_reward --environment copy --length 6 --seeds 10
python -m train.memory_reward --environment chain --length 40 --updates 1000 --seeds 10

For each seed, the same for all methods: `none`, REINFORCE with a critic and entropy; `memory`, with
the bonus of a discriminator on the memory (`MemoryReward`); `behaviour`, of one on observations and
actions (GASIL, Guo et al. 2018); `untrained`, of one on the memory that does not learn. Counts the
episodes until 90 % of new ones are right: of copies by the policy's likeliest actions; of chains by
drawn actions, since the likeliest of an untrained policy are all right or all wrong, by the sign of
what reaches the end. Writes a run folder: config.json; for each seed and method seed_K-METHOD.csv
(a row per interval of 20 updates: return, bonus, entropy, right episodes, seconds); results.json
and results.csv. Ctrl-C saves; `--resume RUN` resumes an interrupted run from its last checkpoint,
of which there is one every 10 intervals, to the same rows.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
import pandas as pd

from mf_keras import DNCCell, MemoryReplay, MemoryReward, Policy, Reinforce, checkpoints
from mf_keras.environments import CopyEnvironment, Environment, MemoryChain
from train.runs import resuming
from train.runs.folder import RunFolder, write_text
from train.runs.intervals import Intervals, Row
from train.runs.options import (
    Role,
    SeedsOptions,
    fraction,
    option,
    positive_float,
    positive_int,
)

METHODS = ("none", "memory", "behaviour", "untrained")
ENVIRONMENTS = {"copy": CopyEnvironment, "chain": MemoryChain}
RESULTS = "results.json"
INTERVAL = 20  # updates of a row of the history
TEST_SEED = 2**31
MOST_INTERVALS = 10_000  # each has a seed of its own, below TEST_SEED


@dataclasses.dataclass(kw_only=True)
class Options(SeedsOptions):
    """The options of a run."""

    command = "train.memory_reward"
    marker = "bonus"
    end = TEST_SEED // MOST_INTERVALS

    method: str = option("all", "always all", role=Role.RUN, choices=("all",))
    methods: tuple[str, ...] = option(METHODS, "what to compare", nargs="+", choices=METHODS)
    environment: str = option("copy", "the task", choices=tuple(ENVIRONMENTS))
    length: int = option(6, "bits to copy, or steps of the chain", positive_int)
    form: str = option("final", "of the bonus", choices=("final", "potential"))
    bonus: float = option(0.1, "weight of the bonus", positive_float)
    entropy: float = option(0.02, "weight of the entropy", positive_float)
    controller_units: int = option(64, "of the GRU", positive_int)
    memory_size: int = option(20, "slots of the DNC", positive_int)
    word_size: int = option(16, "length of a slot", positive_int)
    num_reads: int = option(4, "read heads", positive_int)
    batch_size: int = option(64, "episodes", positive_int)
    learning_rate: float = option(3e-3, "of Adam", positive_float)
    success: float = option(0.9, "share of right episodes that ends a training", fraction)
    updates: int = option(2000, f"at most; a multiple of {INTERVAL}", positive_int, role=Role.RUN)
    seeds: int = option(10, "how many trainings of each method", positive_int, role=Role.RUN)
    out: str = option("", "run folder, new; default: runs/memory_reward-TASK", role=Role.FILES)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.methods = tuple(self.methods)
        self.out = self.out or f"runs/memory_reward-{self.environment}"

    def check(self) -> None:
        """Refuse numbers out of range, and options of a bonus where there is none."""
        super().check()
        if self.updates % INTERVAL or self.updates // INTERVAL > MOST_INTERVALS:
            most = MOST_INTERVALS * INTERVAL
            raise ValueError(
                f"argument --updates: must be a multiple of {INTERVAL}, at most {most}, "
                f"got {self.updates}"
            )
        for name in self.not_default(Role.SETTING).keys() & {"form", "bonus"}:
            if {*self.methods} == {"none"}:
                raise ValueError(f"argument --{name}: --methods none has no bonus")

    def task(self) -> Environment:
        """The environment."""
        return ENVIRONMENTS[self.environment](self.length)


def make_model(options: Options, method: str, seed: int) -> Reinforce:
    """The compiled model of one method and seed; the policies of a seed start alike."""
    keras.utils.set_random_seed(seed)
    environment = options.task()
    sizes: dict[str, Any] = {"memory_size": options.memory_size, "word_size": options.word_size}
    cell = DNCCell(
        keras.layers.GRUCell(options.controller_units),
        environment.actions.size,
        num_reads=options.num_reads,
        **sizes,
    )
    policy = Policy(cell, environment)
    common: dict[str, Any] = {"baseline": "critic", "entropy": options.entropy, "seed": seed}
    if method == "none":
        model = Reinforce(policy, **common)
    else:
        watch = "behaviour" if method == "behaviour" else "memory"
        model = MemoryReward(
            policy,
            watch=watch,
            form=options.form,
            weight=options.bonus,
            learns=method != "untrained",
            replay=MemoryReplay(256),
            **common,
        )
    model.compile(keras.optimizers.Adam(options.learning_rate, clipnorm=1.0))
    return model


def run_one(options: Options, method: str, seed: int, folder: RunFolder) -> Intervals:
    """Train one method from its last checkpoint until it succeeds, or to the end."""
    name = f"seed_{seed}-{method}"
    count, shown = options.updates // INTERVAL, ("return", "entropy", "right")
    training = Intervals(make_model(options, method, seed), folder, name, count, INTERVAL, shown)
    model, environment, size = training.model, options.task(), options.batch_size
    tests = environment.tasks(4 * size, TEST_SEED)

    def advance(interval: int, done: int) -> None:
        drawn = environment.tasks(INTERVAL * size, seed * MOST_INTERVALS + interval)[done * size :]
        if len(drawn):
            before = [resuming.RestoreMeans(checkpoints.metric_values(model))] if done else []
            model.fit(drawn, batch_size=size, shuffle=False, verbose=0, callbacks=before)

    def measure(interval: int, logs: Row) -> Row:
        logs = {"episodes": (interval + 1) * INTERVAL * size, **logs}
        if options.environment == "copy":
            actions = model.predict(tests, batch_size=len(tests), verbose=0)
            logs["right"] = right_share(options, tests, actions)
        return logs

    training.run(advance, measure, ends=lambda row: row["right"] >= options.success)
    return training


def result(options: Options, row: Row) -> dict[str, Any]:
    """How many episodes a training took, if it succeeded, by its last row."""
    episodes = row["episodes"] if row["right"] >= options.success else None
    return {"episodes": episodes, "right": row["right"], "seconds": row["seconds"]}


def right_share(options: Options, tasks: np.ndarray, actions: np.ndarray) -> float:
    """The share of copies that are right, by the policy's likeliest actions."""
    return float((actions[:, options.length :, 0] == tasks).all(axis=1).mean())


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment."""
    folder, options = resuming.new_or_resumed(Options.parse(arguments))
    results = folder.read_json(RESULTS) if (folder / RESULTS).exists() else {}
    with resuming.report_interruption(f"python -m {Options.command} --resume {folder.path}"):
        for seed in options.all_seeds():
            for method in options.methods:
                name = f"{seed}-{method}"
                if name not in results:
                    print(name, flush=True)
                    training = run_one(options, method, seed, folder)
                    results[name] = result(options, training.rows[-1])
                    folder.write_json(RESULTS, results)
                    training.finish()
                    print(f"{name}: {results[name]}", flush=True)
    rows = [
        {"seed": int(name.partition("-")[0]), "method": name.partition("-")[2], **found}
        for name, found in results.items()
    ]
    table = pd.DataFrame(rows)
    write_text(folder / "results.csv", table.to_csv(index=False))
    for method in table["method"].unique():
        own = table[table["method"] == method]
        solved = own["episodes"].dropna()
        median = f", median of them {solved.median():.0f} episodes" if len(solved) else ""
        print(f"{method}: {len(solved)} of {len(own)} seeds{median}")
    print(f"run folder: {folder.path}")


if __name__ == "__main__":
    main()
