"""Pictures: a callback that draws what a generator samples and what its memory does."""

import math
from collections.abc import Sequence

import keras
import numpy as np

from mf_keras import backend, plots, validation, viewer
from mf_keras.backend import EventFile
from mf_keras.plots.figure import as_png
from mf_keras.types import ArrayLike, Logs, Path


class Pictures(keras.callbacks.Callback):
    """Draw what a generator samples and what its memory does while it trains.

    After every `every`-th epoch, and after the last one, it writes to `folder`:

    * `samples_EPOCH.png`: samples from noise that stays the same over the training;
    * `memory_EPOCH.png`: memory on an example beside memory running free (figure 4 of the paper);
    * `memory.html`: the same of the last epoch, step by step in a browser, with the weights;
    * `nll.png` and, where there are discriminators, `discriminators.png`: the logs so far.

    With `tensorboard`, the PNGs and all logs are also written there, as event files. TensorBoard
    runs no program of a page, so its Images have what `memory.html` shows in one picture a run, of
    all steps, as `memory_over_time/teacher-forced` and `memory_over_time/free-running`; its Text
    names the page.

    Args:
        folder: where; created if need be.
        generator: a `SequenceGenerator`.
        example: (T, *step), one sequence for the teacher-forced memory; T is the length of samples.
        image_shape: (height, width) of a sequence as an image.
        every: epochs between pictures.
        num_samples: in the grid.
        seed: of the noise.
        tensorboard: a folder for event files, or None.

    Attributes:
        history: name of a log -> its values so far, pairs (epoch, value), epochs counted from 1;
            set it to resume an earlier run.

    Raises:
        TypeError, ValueError: an argument has the wrong type, shape or range.
    """

    def __init__(
        self,
        folder: Path,
        generator: keras.Model,
        example: ArrayLike,
        image_shape: Sequence[int],
        every: int = 1,
        num_samples: int = 16,
        seed: int = 0,
        tensorboard: Path | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(generator, keras.Model) or not hasattr(generator, "free_run"):
            raise TypeError(f"generator must be a SequenceGenerator, got {generator!r}.")
        if generator.context_size:
            raise ValueError(
                "generator must be one without a context, whose samples have no condition, got one "
                f"with {generator.context_size} numbers."
            )
        image_shape = plots.check_image_shape(image_shape)
        validation.shape_of("example", example, ("T", *generator.output.step))
        validation.numeric("example", example)
        generator.output.check_values("example", np.asarray(example))
        generator.output.as_pixels(np.asarray(example)[np.newaxis])
        if math.prod(image_shape) != len(example):
            raise ValueError(
                f"image_shape must have as many pixels as the example has steps, {len(example)}, "
                f"got {image_shape!r}."
            )
        self.folder = validation.path("folder", folder)
        self.generator = generator
        self.example = np.asarray(example)[np.newaxis]
        self.image_shape = image_shape
        self.every = validation.positive_int("every", every)
        self.num_samples = validation.positive_int("num_samples", num_samples)
        self.seed = validation.seed("seed", seed)
        if tensorboard is not None:
            tensorboard = validation.path("tensorboard", tensorboard)
        self.events = None if tensorboard is None else EventFile(tensorboard)
        self._memories = backend.CompiledFor(generator, self._run)
        self.history: dict[str, list[tuple[int, float]]] = {}
        self._undrawn: int | None = None  # the last epoch, where it was not time to draw

    def on_train_begin(self, logs: Logs = None) -> None:
        """Name the page in the event files."""
        if self.events:
            # Without its folder: event files are looked at on other machines too.
            text = "`memory.html`, beside the pictures, shows memory and weights step by step."
            self.events.text("memory.html", text, 0)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Keep the logs, and draw in every `every`-th epoch."""
        # Some metrics of Keras log an array, which is no point of a curve.
        logs = {name: value for name, value in (logs or {}).items() if np.ndim(value) == 0}
        for name, value in logs.items():
            before = [entry for entry in self.history.get(name, []) if entry[0] <= epoch]
            self.history[name] = [*before, (epoch + 1, float(value))]
        if self.events:
            self.events.scalars(logs, epoch + 1)
        self._undrawn = epoch + 1
        if self._undrawn % self.every == 0:
            self._draw(self._undrawn)

    def on_train_end(self, logs: Logs = None) -> None:
        """Draw the last epoch, if it has not been drawn."""
        if self._undrawn is not None:
            self._draw(self._undrawn)

    def _draw(self, epoch):
        self._undrawn = None
        runs = self._runs()
        for name, figure in self._figures(epoch, runs).items():
            path = plots.save(figure, self.folder / f"{name}.png")
            if self.events:
                tag = name.removesuffix(f"_{epoch:04d}")
                # TensorBoard shows a tag of two kinds as the first only, and `nll` is a scalar.
                tag = f"curves/{name}" if tag == name else tag
                self.events.picture(tag, path.read_bytes(), epoch)
        if self.events:
            for label, figure in _over_time(runs, f"epoch {epoch}").items():
                self.events.picture(f"memory_over_time/{label}", as_png(figure), epoch)
        image_shape = self.image_shape if self.example.shape[2:] == (1,) else None
        page = self.folder / "memory.html"
        viewer.write_page(page, runs, image_shape, title=f"Memory after epoch {epoch}")

    def _run(self, example):
        _, real = self.generator.teacher_force(example)
        samples, _, free = self.generator.free_run(1, example.shape[1], seed=self.seed)
        return [_shown(example, real), _shown(samples, free)]

    def _runs(self):
        real, free = self._memories(self.example)
        return {
            "teacher-forced": viewer.Run(**real),
            "free-running": viewer.Run(**free, given=0),
        }

    def _figures(self, epoch, runs):
        length = self.example.shape[1]
        samples = self.generator.sample(self.num_samples, length, seed=self.seed)
        pixels = self.generator.output.as_pixels(samples)
        memories = {label: run.memory for label, run in runs.items()}
        title = f"epoch {epoch}"
        figures = {
            f"samples_{epoch:04d}": plots.sample_grid(pixels, self.image_shape, title=title),
            f"memory_{epoch:04d}": plots.memory_comparison(memories, title=title),
        }
        logs = {name: tuple(zip(*log, strict=True)) for name, log in self.history.items()}
        return figures | plots.training_curves(logs)


def _over_time(runs, title):
    """Label -> figure of memory and weights over time, of the runs of cells that have weights."""
    return {
        label: plots.memory_over_time(run.memory, run.write_weights, run.read_weights, title=title)
        for label, run in runs.items()
        if run.read_weights is not None
    }


def _shown(sequence, trace):
    """The one sequence of a batch and what of its trace a `viewer.Run` has."""
    fields = ("memory", "read_weights", "write_weights")
    found = {name: getattr(trace, name)[0] for name in fields if name in trace._fields}
    return {"sequence": sequence[0], **found}
