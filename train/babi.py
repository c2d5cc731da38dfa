"""Answer questions about short stories: one task of bAbI.

python -m train.babi --task 1 --path tasks_1-20_v1-2.tar.gz

A transducer reads a story word by word, with its questions where they stand, and gives the answers
at the marked steps. The best epoch is chosen by wrong answers in the last tenth of the training
stories, which is held out. Writes a run folder: config.json, history.csv (NLL in nats and wrong
words per story, each epoch), last.keras (all that a resumed run needs), best.keras, nll.png,
answers.txt (stories of the test split with the answers given) and results.json with the share of
wrong questions of the whole test split: a question is right if all words of its answer are. Ctrl-C
saves; `--resume RUN` resumes to the same weights and rows.
"""

import dataclasses
import sys

import keras
import numpy as np
import tensorflow as tf

from mf_keras import (
    DNCCell,
    SequenceTransducer,
    TeacherForcing,
    callbacks,
    checkpoints,
    data,
    plots,
)
from mf_keras.outputs import Categorical
from train.runs import machine, resuming
from train.runs.devices import use_few_threads
from train.runs.folder import RunFolder, write_text
from train.runs.model import ModelOptions, make_optimizer
from train.runs.options import (
    BASELINE,
    ExperimentOptions,
    Role,
    flag,
    option,
    positive_float,
    positive_int,
    random_seed,
)
from train.sequence_data import (
    Splits,
    batches_of_unequal,
    bucket_lengths,
    evaluation_batches,
    in_buckets,
    padded,
    sequences,
    steps_of,
)

HISTORY, RESULTS, ANSWERS = "history.csv", "results.json", "answers.txt"
LAST, BEST = "last.keras", "best.keras"
TASKS = 20
HELD_OUT = 10  # one story of so many, for validation
EVALUATION_BATCH = 200
SHOWN = 10  # stories in answers.txt
CSORDAS = ("masked_lookup", "erase_on_deallocation", "sharpen_links")


@dataclasses.dataclass(kw_only=True)
class CsordasOptions(ModelOptions):
    """What Csordas and Schmidhuber changed in the DNC."""

    title = "changes of the DNC by Csordas and Schmidhuber 2019 (arXiv:1904.10278)"
    masked_lookup: bool = option(False, "keys come with a mask of the parts they compare")
    erase_on_deallocation: bool = option(False, "what the free gates release is erased")
    sharpen_links: bool = option(False, "temporal links are raised to a learned power")

    def check(self) -> None:
        """Refuse them where there is no DNC."""
        super().check()
        for name in CSORDAS:
            if getattr(self, name) and self.cell != "dnc":
                raise ValueError(f"argument {flag(name)}: goes with --cell dnc, not {self.cell}")

    def make_cell(self, units: int) -> keras.layers.Layer:
        """The memory cell, which gives `units` logits a step."""
        cell = super().make_cell(units)
        if not isinstance(cell, DNCCell):
            return cell
        config = cell.get_config() | {name: getattr(self, name) for name in CSORDAS}
        return DNCCell.from_config(config)


@dataclasses.dataclass(kw_only=True)
class Options(CsordasOptions, ExperimentOptions):
    """The options of a run."""

    command = "train.babi"
    marker = "task"

    method: str = option(BASELINE, "how to train", role=Role.RUN, choices=(BASELINE,))
    task: int = option(1, f"1 to {TASKS}", positive_int)
    path: str | None = option(
        None,
        "the archive tasks_1-20_v1-2.tar.gz, or the folder that it unpacks to; default: fetched",
        role=Role.FILES,
        resumable=True,
    )
    blanks: int = option(0, "steps before an answer that have no target", int)
    epochs: int = option(50, "of the training stories", positive_int, role=Role.RUN, resumable=True)
    batch_size: int = option(16, "stories", positive_int)
    learning_rate: float = option(
        1e-2, "of Adam; a smaller one stays long where it guesses", positive_float
    )
    seed: int = option(0, "of weights and the order of the stories", random_seed, role=Role.RUN)
    out: str = option("", "run folder, new; default: runs/babi-TASK-SEED", role=Role.FILES)
    resume: str | None = option(
        None,
        "resume the run in this folder with its own options; --epochs changes how many, --path "
        "where the data are",
        role=Role.FILES,
        metavar="RUN",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.out = self.out or f"runs/babi-{self.task}-{self.seed}"

    def check(self) -> None:
        """Refuse numbers out of range."""
        super().check()
        if self.task > TASKS:
            raise ValueError(f"argument --task: must be 1 to {TASKS}, got {self.task}")
        if self.blanks < 0:
            raise ValueError(f"argument --blanks: must be an integer >= 0, got {self.blanks}")


def load(options: Options) -> Splits:
    """Stories: (inputs, targets, sample_weight), unbatched."""
    named = {
        split: data.babi(options.task, split, options.path, options.blanks)
        for split in ("train", "test")
    }
    size = int(named["train"].cardinality())
    kept = size - max(1, size // HELD_OUT)
    train = named["train"]
    return {"train": train.take(kept), "validation": train.skip(kept), "test": named["test"]}


def make_model(options: Options) -> TeacherForcing:
    """The compiled model that trains."""
    words = len(data.BABI_WORDS)
    transducer = SequenceTransducer(options.make_cell(words), Categorical(words))
    transducer.build((None, None, words))
    model = TeacherForcing(transducer)
    model.compile(make_optimizer(options.learning_rate), jit_compile="loops")
    return model


def questions(weights: np.ndarray) -> list[slice]:
    """The steps of a story (T,) that belong to each of its questions: runs of weight 1."""
    changes = np.flatnonzero(np.diff(np.r_[0, weights != 0, 0].astype(int)))
    return [slice(start, end) for start, end in changes.reshape(-1, 2)]


def wrong_questions(
    answers: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> tuple[int, int]:
    """`(wrong, all)` questions of stories, (n, T) each; all words of an answer must be right."""
    right = [
        bool((answer[steps] == target[steps]).all())
        for answer, target, weight in zip(answers, targets, weights, strict=True)
        for steps in questions(weight)
    ]
    return len(right) - sum(right), len(right)


def batching(splits: Splits, options: Options) -> tuple[tuple[int, ...], int]:
    """The lengths of batches, and the batches of an epoch."""
    lengths = bucket_lengths(splits)
    buckets = in_buckets(steps_of(splits["train"]), lengths, options.batch_size)
    return lengths, sum(len(indices) // rows for _, indices, rows in buckets)


def train(model: TeacherForcing, splits: Splits, options: Options, folder: RunFolder) -> int:
    """Fit from the model's step to the last epoch; returns the best epoch.

    Raises:
        KeyboardInterrupt: after saving.
        FloatingPointError: something is NaN or infinite.
        mf_keras.files.NotWrittenError: the disk is full.
    """
    lengths, per_epoch = batching(splits, options)
    monitor = f"val_{model.generator.output.errors_log}"
    history = folder.history(HISTORY)
    best = callbacks.SaveBest(folder / BEST, model.generator, monitor)
    if len(history):
        row = int(history[monitor].argmin())
        best.best, best.best_epoch = float(history[monitor][row]), row + 1
    with folder.csv_logger(HISTORY) as logger:
        resuming.fit_from_checkpoint(
            model,
            batches_of_unequal(splits["train"], lengths, options.batch_size, options.seed),
            per_epoch,
            options.epochs,
            len(history),
            callbacks.Checkpoint(folder / LAST),
            validation_data=evaluation_batches(splits["validation"], lengths, EVALUATION_BATCH),
            callbacks=[callbacks.StopOnNonFinite(), best, logger],
        )
    return best.best_epoch


def answers_of(
    transducer: SequenceTransducer, split: tf.data.Dataset
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`(inputs, answers, targets, weights)` of all stories of a split, padded to the longest."""
    stories = sequences(split)
    inputs, targets, weights = padded(stories, int(steps_of(split).max()))
    model = TeacherForcing(transducer)
    model.compile(jit_compile=False)
    logits = model.predict(inputs, batch_size=EVALUATION_BATCH, verbose=0)
    return inputs, logits.argmax(axis=-1), targets, weights


def as_text(
    inputs: np.ndarray, answers: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> str:
    """A story, each question with the answer given, and the right one where it is another."""
    story = np.flatnonzero(inputs.any(axis=-1))
    words = [data.BABI_WORDS.tokens[i] for i in inputs[story].argmax(axis=-1)]
    for steps in questions(weights):
        given, right = (data.BABI_WORDS.decode(x[steps]) for x in (answers, targets))
        words[steps] = [f"{given}\n" if given == right else f"{given} (wrong: {right})\n"]
        words[steps.start + 1 : steps.start + 1] = [""] * (steps.stop - steps.start - 1)
    text = " ".join(word for word in words if word)
    return text.replace(" .", ".\n").replace(" ?", "?").replace("\n ", "\n").rstrip()


def finish(options: Options, splits: Splits, best_epoch: int, folder: RunFolder) -> None:
    """Evaluate the best transducer; write and print the results."""
    transducer = checkpoints.load(folder / BEST)
    found = answers_of(transducer, splits["test"])
    wrong, count = wrong_questions(*found[1:])
    results = {
        "test": {"wrong": wrong, "questions": count, "error": wrong / count},
        "weights": transducer.count_params(),
        "best_epoch": best_epoch,
        "epochs": options.epochs,
        "train_seconds": round(float(folder.history(HISTORY)["seconds"].sum()), 1),
        **machine.describe(),
    }
    folder.write_json(RESULTS, results)
    shown = [as_text(*story) for story in zip(*(part[:SHOWN] for part in found), strict=True)]
    write_text(folder / ANSWERS, "\n\n".join(shown) + "\n")
    history = folder.history(HISTORY)
    epochs = (history["epoch"] + 1).tolist()
    logs = {name: (epochs, history[name].tolist()) for name in ("nll", "val_nll")}
    for name, figure in plots.training_curves(logs).items():
        folder.save_figure(f"{name}.png", figure)
    print(
        f"test error: {100 * wrong / count:.1f} % of {count} questions, at the best epoch by "
        f"validation, {best_epoch}"
    )
    print(f"run folder: {folder.path}")


def start(options: Options) -> tuple[Options, Splits, RunFolder, TeacherForcing]:
    """Options, data, folder and model of a new run, or of one to resume."""
    folder = None
    if options.resume:
        folder, own = RunFolder.open(options.resume, Options)
        changes = {name: getattr(options, name) for name in options.given - {"resume"}}
        options = dataclasses.replace(own, **changes)
    use_few_threads(options.batch_size)
    splits = load(options)
    if folder is None:
        folder = RunFolder(options.out, options)
    else:
        folder.remove_left_over()
    keras.utils.set_random_seed(options.seed)
    per_epoch = batching(splits, options)[1]
    new = make_model(options)
    model = resuming.latest_or(new, folder / LAST)
    resuming.go_on(folder, options, HISTORY, model.trained_steps, per_epoch)
    if len(folder.history(HISTORY)) < options.epochs:
        for name in (RESULTS, ANSWERS):  # those of fewer
            (folder / name).unlink(missing_ok=True)
    return options, splits, folder, model


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment."""
    try:
        options, splits, folder, model = start(Options.parse(arguments))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"{model.generator.count_params()} weights")
    with resuming.report_interruption(f"python -m {Options.command} --resume {folder.path}"):
        best_epoch = train(model, splits, options, folder)
        finish(options, splits, best_epoch, folder)


if __name__ == "__main__":
    main()
