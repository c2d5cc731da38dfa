"""What can be compiled under a `tf.distribute` strategy, and what must lie in its scope."""

import tensorflow as tf


def distributed():
    """Whether a strategy's scope is open, in which models are created once for each replica."""
    return tf.distribute.has_strategy()


def scope_of(model):
    """The scope of the strategy that a model was created in."""
    return model.distribute_strategy.scope()


def check_whole_step(jit_compile, distributed):
    """Refuse to compile a whole training step under a strategy.

    Raises:
        ValueError: `jit_compile` is True under a strategy.
    """
    if distributed and jit_compile is True:
        raise ValueError(
            'jit_compile must be "auto", "loops" or False under a tf.distribute strategy, since '
            "Keras then gives XLA a step that spans several devices, which it refuses; got True."
        )


def check_steps(steps_per_execution, distributed):
    """Refuse several steps in one call under a strategy, at which Keras' own loop fails.

    Raises:
        ValueError: `steps_per_execution` is above 1 under a strategy.
    """
    if distributed and steps_per_execution > 1:
        raise ValueError(
            "steps_per_execution must be 1 under a tf.distribute strategy, where the loop that "
            f"Keras makes of several steps fails; got {steps_per_execution}."
        )


def check_optimizer(name, optimizer, strategy):
    """Refuse an optimizer that every replica would change anew, or that Keras cannot apply.

    Args:
        name: the argument's name.
        optimizer: a Keras optimizer.
        strategy: the strategy of its model.

    Raises:
        ValueError: it was not created in the strategy's scope, or it accumulates gradients.
    """
    # First: `iterations` of one that accumulates is no variable.
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if inner.gradient_accumulation_steps:
        raise ValueError(
            f"{name} must not have gradient_accumulation_steps under a tf.distribute strategy, "
            f"where Keras fails to apply them; got {inner.gradient_accumulation_steps}."
        )
    if not strategy.extended.variable_created_in_scope(optimizer.iterations.value):
        raise ValueError(
            f"{name} must be created in the scope of the model's strategy, as by compiling there, "
            f"got one from elsewhere: {optimizer!r}."
        )


def check_variables(model):
    """Refuse a model of which a part exists once, so that every replica would change it anew.

    Raises:
        ValueError: a variable was not created in the scope of the model's strategy.
    """
    for variable in model.variables:
        if not model.distribute_strategy.extended.variable_created_in_scope(variable.value):
            raise ValueError(
                f"{type(model).__name__} and all that it is given must be created in the scope of "
                f"one strategy, got {variable.path} from elsewhere."
            )


def has_workers(strategy):
    """Whether the replicas of a strategy are in several processes."""
    resolver = strategy.cluster_resolver
    return resolver is not None and bool(resolver.cluster_spec().as_dict())
