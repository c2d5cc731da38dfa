"""Runs an environment on given actions, step by step."""

import numpy as np
from keras import ops


def play(environment, x, actions, answers=None):
    """`(observations, rewards, state)`: (B, T, size) and (B, T), after actions (B, T, *step)."""
    state = environment.initial(ops.convert_to_tensor(x))
    rows, observations, rewards = len(x), [], []
    for t in range(actions.shape[1]):
        observations.append(np.asarray(environment.observe(state)))
        answer = np.zeros((rows, environment.answer_size), "float32")
        answer = answer if answers is None else answers[:, t]
        chosen = ops.convert_to_tensor(actions[:, t])
        reward, state = environment.step(state, chosen, ops.convert_to_tensor(answer))
        rewards.append(np.asarray(reward))
    return np.stack(observations, axis=1), np.stack(rewards, axis=1), state
