"""DiscriminatorScores: how well discriminators tell behaviours apart that they have not seen."""

from typing import Any

import keras
import numpy as np
from keras import ops

from mf_keras import backend, validation
from mf_keras.models.generator import check_context, parts_of
from mf_keras.outputs.output import prefix_conditions
from mf_keras.types import ArrayLike


class DiscriminatorScores(keras.callbacks.Callback):
    """Measure the discriminators of Memory or Professor Forcing on held-out data and fresh noise.

    After every `every`-th epoch the generator reads `x`, and runs free on new noise over as many
    steps. Each discriminator's logits of both behaviours give two logs, for the discriminator of
    the hidden states `val_hidden_discriminator_auc` and `val_hidden_discriminator_accuracy`:

    * the area under its ROC curve, the share of pairs of a teacher-forced and a free-running
      behaviour in which the teacher-forced one has the larger logit (Fawcett 2006), 0.5 at chance;
    * its accuracy at the threshold 0.

    The accuracies of the training itself are of data that the discriminators also learn from.

    Args:
        model: a `MemoryForcing` or `ProfessorForcing`.
        x: sequences in the form that the generator reads, (n, T, *step), or a dict with contexts.
        sample_weight: optional (n, T), 1 on the steps of a sequence, 0 on the padding at its end;
            discriminators see the same steps of both behaviours.
        every: epochs between two measurements.
        seed: of the noise, which is new in every epoch.
        batch_size: sequences at a time.

    Raises:
        TypeError, ValueError: an argument has the wrong type, shape, values or range.
    """

    def __init__(
        self,
        model: keras.Model,
        x: ArrayLike,
        sample_weight: ArrayLike | None = None,
        every: int = 1,
        seed: int = 0,
        batch_size: int = 64,
    ) -> None:
        super().__init__()
        if not hasattr(model, "watch") or not hasattr(model.generator, "in_both_modes"):
            raise TypeError(
                "model must be MemoryForcing or ProfessorForcing, whose discriminators "
                f"DiscriminatorScores measures, got {type(model).__name__}."
            )
        self.measured = model
        self.every = validation.positive_int("every", every)
        self.seed = validation.seed("seed", seed)
        self.batch_size = validation.positive_int("batch_size", batch_size)
        sequences, context = parts_of(x)
        found = {"x": _numbers("x", sequences)}
        for name, array in (("context", context), ("sample_weight", sample_weight)):
            if array is not None:
                found[name] = _numbers(name, array)
        generator = model.generator
        validation.shape_of("x", found["x"], ("n", "T", *generator.output.step))
        if sample_weight is not None:
            validation.shape_of("sample_weight", found["sample_weight"], found["x"].shape[:2])
            conditions = prefix_conditions("sample_weight", found["sample_weight"])
            validation.all_hold(conditions)
            found["x"][found["sample_weight"] == 0] = 0  # padding may hold anything
        generator.output.to_steps("x", found["x"], generator.cell.compute_dtype)
        check_context("context", context, generator.context_size, len(found["x"]))
        self.mask = None if sample_weight is None else found["sample_weight"] != 0
        self.x = found["x"]
        if context is not None:
            self.x = {"sequence": found["x"], "context": found["context"]}
        self._logits = backend.CompiledFor(model, self._logits_of_both)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure, and add what is found to the logs."""
        if logs is None or (epoch + 1) % self.every:
            return
        for name, (real, fake) in self.logits(epoch).items():
            prefix = f"val_{name}_discriminator"
            logs[f"{prefix}_auc"] = area_under_curve(real, fake)
            logs[f"{prefix}_accuracy"] = float(np.mean([*(real > 0), *(fake <= 0)]))

    def logits(self, epoch: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Watched field -> its discriminator's logits of both behaviours, (n,) each.

        Args:
            epoch: chooses the noise.

        Raises:
            TypeError, ValueError: it is no integer >= 0.
        """
        epoch = validation.positive_int("epoch", epoch, minimum=0)
        sequences, _ = parts_of(self.x)
        random = np.random.default_rng([self.seed, epoch])  # not the noise of the training
        size = self.measured.generator.output.noise_size
        parts = []
        for start in range(0, len(sequences), self.batch_size):
            rows = slice(start, start + self.batch_size)
            x = keras.tree.map_structure(
                lambda a, rows=rows: ops.convert_to_tensor(a[rows]), self.x
            )
            noise = random.random((*parts_of(x)[0].shape[:2], size), "float32")
            mask = () if self.mask is None else (ops.convert_to_tensor(self.mask[rows]),)
            found = self._logits(x, ops.convert_to_tensor(noise), *mask)
            parts.append(keras.tree.map_structure(ops.convert_to_numpy, found))
        joined = keras.tree.map_structure(lambda *each: np.concatenate(each), *parts)
        return dict(zip(self.measured.watch, joined, strict=True))

    def _logits_of_both(self, x, noise, mask=None):
        """Of every discriminator, `(real, fake)`, (B,) each."""
        model = self.measured
        modes = model.generator.in_both_modes(x, noise, keep=model.watch)
        options = {} if mask is None else {"mask": mask}
        return [
            tuple(
                adversary.discriminator(getattr(trace, field), **options)[:, 0]
                for _, trace in modes
            )
            for field, adversary in model.adversaries.items()
        ]


def _numbers(name, value):
    """An array of real numbers.

    Raises:
        TypeError: it is something else.
    """
    return np.array(ops.convert_to_numpy(backend.to_tensor(name, value)))


def area_under_curve(positive: ArrayLike, negative: ArrayLike) -> float:
    """The share of pairs in which the positive score is larger; ties count one half.

    Args:
        positive: (n,), scores of what should have the larger ones.
        negative: (m,), scores of the others.
    """
    positive, negative = np.asarray(positive), np.sort(np.asarray(negative))
    below = np.searchsorted(negative, positive, side="left")
    up_to = np.searchsorted(negative, positive, side="right")
    return float((below + up_to).mean() / (2 * len(negative)))
