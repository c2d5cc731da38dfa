"""Policy: a memory cell that acts in an environment."""

from typing import Any, NamedTuple

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.cells import MemoryCell
from mf_keras.environments import Environment
from mf_keras.models.free_running import AroundCell
from mf_keras.models.sequence_model import SequenceModel
from mf_keras.models.unroll import kept_fields, run
from mf_keras.types import ArrayLike, Chunk, Config, Keep, Seed, Tensor


class Episodes(NamedTuple):
    """What a policy did, and what it got for it. T is the environment's `steps`."""

    actions: Any  # (B, T, *step)
    rewards: Any  # (B, T); differentiable in the policy's answers
    log_probabilities: Any  # (B, T), log p of each action, nats; 0 after an episode's end
    parameters: Any  # (B, T, size), of the actions' distributions, those forbidden left out
    running: Any  # (B, T) of 0 and 1: the steps before an episode's end
    trace: Any  # the cell's named tuple with (B, T, ...) tensors
    environment: Any  # the environment's state after the last step
    observations: Any  # (B, T, observation_size)


@keras.saving.register_keras_serializable(package="mf_keras")
class Policy(SequenceModel):
    """A memory cell that acts in an `Environment`; `Reinforce` trains it.

        environment = environments.CopyEnvironment(length=3)
        policy = Policy(DNCCell(keras.layers.GRUCell(32), units=1), environment)
        episodes = policy.run(environment.tasks(16, seed=0), seed=0)
        episodes.rewards  # (16, 6)

    In a step the cell reads what the environment shows and the last action, one beside the other,
    and gives the parameters of the action's distribution and, where the environment wants them,
    `answer_size` further numbers. An episode is a pure function of weights, tasks and noise, one
    loop over time in which cell and environment run together.

    The weights are created at once; no input shape is needed.

    Args:
        cell: a memory cell, e.g. `DNCCell`, of `environment.actions.size + environment.answer_size`
            units.
        environment: what it acts in.
        chunk: as for `SequenceGenerator`.
        dtype: None, or the cell's.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: `cell` is no memory cell, or `environment` no environment.
        ValueError: the cell has other units, or is built for inputs of another size.
    """

    def __init__(
        self,
        cell: MemoryCell,
        environment: Environment,
        chunk: Chunk = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(environment, Environment):
            raise TypeError(
                f"environment must be an mf_keras.environments.Environment, got {environment!r}."
            )
        self.answer_size = environment.answer_size
        units = environment.actions.size + self.answer_size
        if isinstance(cell, MemoryCell) and cell.units != units:
            raise ValueError(
                f"cell must have units={units} for {environment!r}: {environment.actions.size} "
                f"for its actions and {self.answer_size} for answers; got {cell.units}."
            )
        super().__init__(cell, environment.actions, chunk, dtype, **kwargs)
        self.environment = environment
        self.output_layers = list(self.output.layers)  # their weights are the policy's
        size = environment.observation_size + self.output.input_size
        if not cell.built:
            cell.build((None, size))
            cell.built = True
        if cell.input_size != size:
            raise ValueError(
                f"cell must read what the environment shows and the last action, {size} numbers; "
                f"but this cell is built for inputs of size {cell.input_size}."
            )
        self.built = True

    def call(self, x: ArrayLike, training: bool = False) -> Tensor:
        """The actions of the likeliest choices.

        Args:
            x: (B, *task), the tasks.
            training: passed on to the cell.

        Returns:
            (B, T, *step).
        """
        x = self._tasks(x)
        noise = ops.full(self._noise_shape(ops.shape(x)[0]), 0.5, dtype="float32")
        return self.episodes(x, noise, 0.0, training=training, keep=()).actions

    def run(
        self, x: ArrayLike, seed: Seed, temperature: float = 1.0, keep: Keep = None
    ) -> Episodes:
        """Act in the environment.

        Args:
            x: (B, *task), the tasks.
            seed: int >= 0, or a `keras.random.SeedGenerator`.
            temperature: 1 for the policy itself, 0 for its likeliest actions.
            keep: names of the fields that the cell's trace shall have; None for all.

        Returns:
            `Episodes`.

        Raises:
            TypeError, ValueError: an argument has the wrong type, shape or range.
        """
        x = self._tasks(x)
        temperature = validation.real_number("temperature", temperature, minimum=0.0)
        if not isinstance(seed, keras.random.SeedGenerator):
            seed = validation.seed("seed", seed)
        noise = keras.random.uniform(self._noise_shape(ops.shape(x)[0]), seed=seed, dtype="float32")
        return self.episodes(x, noise, temperature, keep=keep)

    def episodes(
        self,
        x: Tensor,
        noise: Tensor,
        temperature: float = 1.0,
        training: bool = False,
        keep: Keep = None,
    ) -> Episodes:
        """`run` as a pure function of tasks and noise, which have been checked.

        Args:
            x: (B, *task).
            noise: (B, T, noise_size), uniform in [0, 1).
            temperature: as for `run`.
            training: passed on to the cell.
            keep: as for `run`.
        """
        return self.act(x, self.output.thresholds(noise, temperature), training, keep)

    def act(
        self, x: Tensor, thresholds: Tensor, training: bool = False, keep: Keep = None
    ) -> Episodes:
        """`episodes` from thresholds (B, T, noise_size): of noise, or of actions to force."""
        agent = _Agent(self.cell, self.environment)
        x = ops.cast(x, "int32" if self.environment.task_dtype == "int32" else agent.precise)
        if keep is not None:
            kept_fields(keep, self.cell.initial_state(1))
            keep = ("actions", "rewards", "running", "observations", *keep)
        else:
            keep = ("actions", "rewards", "running", "observations", "cell")
        start = agent.start(x)
        outputs, trace, final = run(
            agent, thresholds, start, training=training, keep=keep, chunk=self.chunk
        )
        parameters = ops.cast(outputs[..., : self.output.size], agent.precise)
        log_p = -self.output.step_nll(trace.actions, parameters) * trace.running
        done = trace.actions, trace.rewards, log_p, parameters, trace.running
        return Episodes(*done, trace.cell, final.environment, trace.observations)

    def _noise_shape(self, rows):
        return (rows, self.environment.steps, self.output.noise_size)

    def _tasks(self, x):
        """x, checked, as a tensor."""
        x = backend.to_tensor("x", x)
        validation.shape_of("x", x, ("B", *self.environment.task))
        if backend.is_concrete(x):
            array = ops.convert_to_numpy(x)
            validation.entries("x", array, self.environment.valid(array), self.environment.values)
        return x

    def get_config(self) -> Config:
        """The constructor's arguments, cell and environment serialized."""
        config = super().get_config()
        del config["output"]
        environment = keras.saving.serialize_keras_object(self.environment)
        return {**config, "environment": environment}

    @classmethod
    def from_config(cls, config: Config) -> "Policy":
        """A policy from what `get_config` gave."""
        parts: Config = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("cell", "environment")
        }
        return cls(**{**config, **parts, "dtype": None})  # the cell's own


class _AgentState(NamedTuple):
    """State of cell and environment together; the last action is the cell's next input."""

    actions: Any  # (B, *step)
    rewards: Any  # (B,)
    running: Any  # (B,) of 0 and 1, before the action
    observations: Any  # (B, observation_size), before the action
    environment: Any  # the environment's named tuple
    cell: Any  # the memory cell's


class _Agent(AroundCell):
    """A memory cell in its environment, as a cell whose input sequence is noise; see `unroll`."""

    def __init__(self, cell: Any, environment: Environment) -> None:
        self.cell = cell
        self.environment = environment
        self.output = environment.actions
        self.compute_dtype = cell.compute_dtype
        self.precise = "float64" if cell.compute_dtype == "float64" else "float32"
        self.output_size = cell.units
        self.variables = [*cell.variables, *self.output.variables]

    def start(self, x):
        """The state before the first step of the tasks x (B, *task)."""
        rows = ops.shape(x)[0]
        environment = self.environment.initial(x)
        self._environment_axes = keras.tree.map_structure(lambda _: 0, environment)
        return _AgentState(
            self.output.start(rows, self.compute_dtype),
            ops.zeros((rows,), self.precise),
            self._running(environment, rows),
            ops.zeros((rows, self.environment.observation_size), self.compute_dtype),
            environment,
            self.cell.initial_state(rows),
        )

    def _running(self, state, rows):
        running = self.environment.running(state)
        return (
            ops.ones((rows,), self.precise) if running is None else ops.cast(running, self.precise)
        )

    def batch_axes(self, layout):
        """As `MemoryCell.batch_axes`."""
        return _AgentState(0, 0, 0, 0, self._environment_axes, self.cell.batch_axes(layout))

    def step(self, thresholds, state, training=False, **options):
        """One step: observe, choose by the thresholds, act."""
        environment, dtype = self.environment, self.compute_dtype
        seen = ops.cast(environment.observe(state.environment), dtype)
        inputs = ops.concatenate([seen, self.output.encode(state.actions, dtype)], axis=-1)
        outputs, cell = self.cell.step(inputs, state.cell, training=training, **options)
        parameters = environment.allowed(state.environment, outputs[:, : self.output.size])
        answers = ops.cast(outputs[:, self.output.size :], self.precise)
        actions = self.output.draw(parameters, thresholds)
        running = self._running(state.environment, ops.shape(outputs)[0])
        rewards, after = environment.step(state.environment, actions, answers)
        outputs = ops.concatenate([parameters, outputs[:, self.output.size :]], axis=-1)
        rewards = ops.cast(rewards, self.precise)
        return outputs, _AgentState(actions, rewards, running, seen, after, cell)
