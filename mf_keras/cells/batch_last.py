"""A DNC whose memory lies with the batch last, which is how `unroll` runs it over many rows."""

import numpy as np
from keras import ops

from mf_keras import addressing, batch_last
from mf_keras.cells.cell import at_least_float32, cast_floats
from mf_keras.cells.interface import DNCInterface
from mf_keras.contraction import contract, turned


class BatchLastDNC:
    """The step of a `DNCCell` on a state whose fields from `memory` on are (..., B), not (B, ...).

    It computes what the cell does, to rounding, in less time where XLA compiles it for a CPU and
    there are many rows: `contraction` says why, benchmarks/README.md how much. `DNCCell.in_loop`
    decides.

    Args:
        cell: a built `DNCCell` with dense links and none of the options of Csordas and Schmidhuber.
    """

    def __init__(self, cell):
        self.cell = cell
        self.units = cell.units
        self.compute_dtype = cell.compute_dtype
        self.variables = cell.variables

    def step(self, inputs, state, training=False):
        """One time step.

        Args:
            inputs: (B, D), x_t.
            state: the cell's named tuple; `hidden` and `controller` are (B, ...), the other
                fields (..., B).
            training: passed on to the controller.

        Returns:
            `(outputs, state)`: y_t of shape (B, units), and the new state.
        """
        cell = self.cell
        reads_tm1 = turned(self._flat(state.read_vectors))  # (B, R W)
        hidden, controller = cell.control(inputs, reads_tm1, state.controller, training)
        precise = at_least_float32(self.compute_dtype)
        fields = self._address(
            ops.cast(self._interface(hidden), precise), cast_floats(state, precise)
        )
        fields = cast_floats(fields, self.compute_dtype)
        state = cell.state_type(hidden=hidden, controller=controller, **fields)
        return self._readout(hidden, self._flat(state.read_vectors)), state

    def _flat(self, read_vectors):
        return ops.reshape(read_vectors, (self.cell.num_reads * self.cell.word_size, -1))

    def _interface(self, hidden):
        """The interface vector, (interface_size, B)."""
        kernel, bias = _weights(self.cell.interface, self.compute_dtype)
        return turned(ops.matmul(hidden, kernel) + bias)

    def _readout(self, hidden, reads):
        """y_t = W [h_t ; r_t] + b, from (B, units of the controller) and (R W, B)."""
        kernel, bias = _weights(self.cell.readout, self.compute_dtype)
        of_hidden, of_reads = ops.split(kernel, [hidden.shape[-1]], axis=0)
        return ops.matmul(hidden, of_hidden) + ops.matmul(ops.transpose(reads), of_reads) + bias

    def _address(self, interface, state):
        """One step of the memory, in the paper's order; as `DNCCell.address`."""
        signals = self._parse(interface)
        psi = batch_last.retention(signals.free_gates, state.read_weights)
        usage = batch_last.update_usage(state.usage, state.write_weights, psi)
        write_weights = self._write_weights(signals, usage, state.memory)
        memory = batch_last.erase_and_write(
            state.memory, write_weights, signals.erase, signals.write_vectors
        )
        link = batch_last.update_link(state.link, state.precedence, write_weights)
        precedence = batch_last.update_precedence(state.precedence, write_weights)
        read_weights = self._read_weights(signals, memory, link, state.read_weights)
        return {
            "memory": memory,
            "read_weights": read_weights,
            "write_weights": write_weights,
            "usage": usage,
            "precedence": precedence,
            "link": link,
            "read_vectors": batch_last.read(memory, read_weights),
        }

    def _parse(self, interface):
        """The interface vector (interface_size, B) as `DNCInterface`; as `DNCCell.parse`."""
        cell = self.cell
        r, h, w = cell.num_reads, cell.num_writes, cell.word_size
        sizes = cell.interface_sizes()
        pieces = ops.split(interface, np.cumsum(sizes[:-1]).tolist(), axis=0)
        k_r, beta_r, k_w, beta_w, e, v, f, g_a, g_w, pi = pieces
        return DNCInterface(
            read_keys=ops.reshape(k_r, (r, w, -1)),
            read_strengths=addressing.oneplus(beta_r),
            write_keys=ops.reshape(k_w, (h, w, -1)),
            write_strengths=addressing.oneplus(beta_w),
            erase=ops.sigmoid(ops.reshape(e, (h, w, -1))),
            write_vectors=ops.reshape(v, (h, w, -1)),
            free_gates=ops.sigmoid(f),
            allocation_gates=ops.sigmoid(g_a),
            write_gates=ops.sigmoid(g_w),
            read_modes=batch_last.softmax(ops.reshape(pi, (r, 2 * h + 1, -1))),
        )

    def _write_weights(self, signals, usage, memory_tm1):
        """w^w = g^w (g^a a + (1 - g^a) c^w): (H, N, B)."""
        content = batch_last.content_weights(
            memory_tm1, signals.write_keys, signals.write_strengths
        )
        g_a, g_w = signals.allocation_gates, signals.write_gates  # (H, B)
        allocation = self._allocation(usage, g_a * g_w)
        return contract("hb,hnb->hnb", g_w * g_a, allocation) + contract(
            "hb,hnb->hnb", g_w * (1.0 - g_a), content
        )

    def _allocation(self, usage, gates):
        """a of every write head, (H, N, B); a head sees what the heads before it would use."""
        weights = []
        for head in range(self.cell.num_writes):
            if head:
                usage = usage + (1.0 - usage) * gates[head - 1] * weights[-1]
            weights.append(batch_last.allocation_weights(usage))
        return ops.stack(weights, axis=0)

    def _read_weights(self, signals, memory, link, read_weights_tm1):
        """w^r = pi_1 b + pi_2 c^r + pi_3 f: (R, N, B)."""
        h = self.cell.num_writes
        content = batch_last.content_weights(memory, signals.read_keys, signals.read_strengths)
        forward, backward = batch_last.follow_links(link, read_weights_tm1)
        modes = signals.read_modes  # (R, 2H + 1, B)
        return (
            contract("rhb,rhnb->rnb", modes[:, :h], backward)
            + contract("rb,rnb->rnb", modes[:, h], content)
            + contract("rhb,rhnb->rnb", modes[:, h + 1 :], forward)
        )


def _weights(dense, dtype):
    """Kernel and bias of a `Dense` layer, in the dtype that it computes with."""
    return ops.cast(dense.kernel, dtype), ops.cast(dense.bias, dtype)
