"""The papers' equations as slow NumPy loops in float64, to compare the fast ones with.

NTM: Graves et al. 2014. DNC: Graves et al., Nature 2016, Methods. CS19: Csordas, Schmidhuber 2019.
MANN: Santoro et al. 2016.
"""

import numpy as np

TIE = 2.0**-20  # usages that differ by less count as tied
MIN_NORM = 1e-6  # a vector shorter than this counts as this long in a cosine


def oneplus(x):
    return 1.0 + np.logaddexp(0.0, np.asarray(x, np.float64))


def sigmoid(x):
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softmax(x):
    """Softmax of one vector."""
    powers = np.exp(x - np.max(x))
    return powers / np.sum(powers)


def cosine(u, v):
    norms = [max(np.sqrt(np.sum(x * x)), MIN_NORM) for x in (u, v)]
    return np.sum(u * v) / (norms[0] * norms[1])


def content_weights(memory, keys, strengths, masks=None):
    """DNC "content-based addressing", NTM eq. 5 and 6; with masks CS19, section 3.1."""
    batch, heads, _ = keys.shape
    slots = memory.shape[1]
    weights = np.zeros((batch, heads, slots))
    for b in range(batch):
        for h in range(heads):
            mask = 1.0 if masks is None else masks[b, h]
            scores = np.zeros(slots)
            for i in range(slots):
                scores[i] = strengths[b, h] * cosine(keys[b, h] * mask, memory[b, i] * mask)
            weights[b, h] = softmax(scores)
    return weights


def retention(free_gates, read_weights):
    batch, heads, slots = read_weights.shape
    psi = np.ones((batch, slots))
    for b in range(batch):
        for i in range(slots):
            for r in range(heads):
                psi[b, i] *= 1.0 - free_gates[b, r] * read_weights[b, r, i]
    return psi


def update_usage(usage, write_weights, psi):
    batch, heads, slots = write_weights.shape
    updated = np.zeros((batch, slots))
    for b in range(batch):
        for i in range(slots):
            untouched = 1.0
            for h in range(heads):
                untouched *= 1.0 - write_weights[b, h, i]
            w, u = 1.0 - untouched, usage[b, i]
            updated[b, i] = (u + w - u * w) * psi[b, i]
    return updated


def allocation_weights(usage):
    batch, slots = usage.shape
    allocation = np.zeros((batch, slots))
    for b in range(batch):
        free_list = sorted(range(slots), key=lambda i: (usage[b, i] + i * TIE, i))
        product = 1.0
        for slot in free_list:
            allocation[b, slot] = (1.0 - usage[b, slot]) * product
            product *= usage[b, slot]
    return allocation


def allocation_of_heads(usage, allocation_gates, write_gates):
    """Each later head allocates on the usage that the allocation of the heads before causes."""
    batch, slots = usage.shape
    heads = allocation_gates.shape[1]
    allocation = np.zeros((batch, heads, slots))
    usage = usage.copy()
    for h in range(heads):
        allocation[:, h] = allocation_weights(usage)
        for b in range(batch):
            gate = allocation_gates[b, h] * write_gates[b, h]
            for i in range(slots):
                usage[b, i] += (1.0 - usage[b, i]) * gate * allocation[b, h, i]
    return allocation


def write_weighting(allocation, content, allocation_gates, write_gates):
    batch, heads, slots = content.shape
    weights = np.zeros((batch, heads, slots))
    for b in range(batch):
        for h in range(heads):
            g_a, g_w = allocation_gates[b, h], write_gates[b, h]
            for i in range(slots):
                a, c = allocation[b, h, i], content[b, h, i]
                weights[b, h, i] = g_w * (g_a * a + (1.0 - g_a) * c)
    return weights


def deallocate(memory, psi):
    """CS19, section 3.2."""
    batch, slots, _ = memory.shape
    kept = np.zeros(memory.shape)
    for b in range(batch):
        for i in range(slots):
            kept[b, i] = memory[b, i] * psi[b, i]
    return kept


def update_link(link, precedence, write_weights):
    batch, heads, slots = write_weights.shape
    updated = np.zeros((batch, heads, slots, slots))
    for b in range(batch):
        for h in range(heads):
            w, p = write_weights[b, h], precedence[b, h]
            for i in range(slots):
                for j in range(slots):
                    if i != j:
                        kept = (1.0 - w[i] - w[j]) * link[b, h, i, j]
                        updated[b, h, i, j] = kept + w[i] * p[j]
    return updated


def keep_strongest(link, count):
    """The `count` largest entries of every row of (B, H, N, N), zeros elsewhere."""
    kept = np.zeros_like(link)
    for row in np.ndindex(link.shape[:-1]):
        for j in sorted(range(link.shape[-1]), key=lambda j: -link[row][j])[:count]:
            kept[row][j] = link[row][j]
    return kept


def update_sparse_link(link, precedence, write_weights, count):
    """The dense update from the `count` largest precedences, then the strongest of each row."""
    latest = keep_strongest(precedence[:, :, None, :], count)[:, :, 0]
    return keep_strongest(update_link(link, latest, write_weights), count)


def dense_link(weights, slots):
    """(B, H, N, N) of the sparse form: two (B, H, K, N)."""
    batch, heads, links, num_slots = weights.shape
    link = np.zeros((batch, heads, num_slots, num_slots))
    for b, h, k, i in np.ndindex(batch, heads, links, num_slots):
        if slots[b, h, k, i]:
            link[b, h, i, slots[b, h, k, i] - 1] += weights[b, h, k, i]
    return link


def update_precedence(precedence, write_weights):
    batch, heads, slots = write_weights.shape
    updated = np.zeros((batch, heads, slots))
    for b in range(batch):
        for h in range(heads):
            total = sum(write_weights[b, h])
            for i in range(slots):
                updated[b, h, i] = (1.0 - total) * precedence[b, h, i] + write_weights[b, h, i]
    return updated


def follow_links(link, read_weights):
    batch, heads, slots, _ = link.shape
    reads = read_weights.shape[1]
    forward = np.zeros((batch, reads, heads, slots))
    backward = np.zeros((batch, reads, heads, slots))
    for b in range(batch):
        for r in range(reads):
            for h in range(heads):
                for i in range(slots):
                    for j in range(slots):
                        forward[b, r, h, i] += link[b, h, i, j] * read_weights[b, r, j]
                        backward[b, r, h, i] += link[b, h, j, i] * read_weights[b, r, j]
    return forward, backward


def read_weighting(backward, content, forward, modes):
    batch, reads, writes, slots = forward.shape
    weights = np.zeros((batch, reads, slots))
    for b in range(batch):
        for r in range(reads):
            for h in range(writes):
                weights[b, r] += modes[b, r, h] * backward[b, r, h]
                weights[b, r] += modes[b, r, writes + 1 + h] * forward[b, r, h]
            weights[b, r] += modes[b, r, writes] * content[b, r]
    return weights


def erase_and_write(memory, write_weights, erase, add):
    """DNC "memory write", NTM eq. 3 and 4: all heads erase, then all heads add."""
    batch, slots, width = memory.shape
    written = np.array(memory, np.float64)
    for b in range(batch):
        for i in range(slots):
            for k in range(width):
                for w, e in zip(write_weights[b, :, i], erase[b, :, k], strict=True):
                    written[b, i, k] *= 1.0 - w * e
                for w, a in zip(write_weights[b, :, i], add[b, :, k], strict=True):
                    written[b, i, k] += w * a
    return written


def read(memory, read_weights):
    """DNC "memory read", NTM eq. 2."""
    batch, heads, slots = read_weights.shape
    vectors = np.zeros((batch, heads, memory.shape[-1]))
    for b in range(batch):
        for r in range(heads):
            for i in range(slots):
                vectors[b, r] += read_weights[b, r, i] * memory[b, i]
    return vectors


def interpolate(content, previous, gate):
    """NTM eq. 7."""
    batch, heads, slots = content.shape
    gated = np.zeros((batch, heads, slots))
    for b in range(batch):
        for h in range(heads):
            g = gate[b, h]
            for i in range(slots):
                gated[b, h, i] = g * content[b, h, i] + (1.0 - g) * previous[b, h, i]
    return gated


def shift(weights, taps):
    """NTM eq. 8: w~(i) = sum_j w(j) s(i - j), indices modulo N, s over offsets -K..K."""
    batch, heads, slots = weights.shape
    reach = taps.shape[-1] // 2
    shifted = np.zeros((batch, heads, slots))
    for b in range(batch):
        for h in range(heads):
            for j in range(slots):
                for offset in range(-reach, reach + 1):
                    target = (j + offset) % slots
                    shifted[b, h, target] += weights[b, h, j] * taps[b, h, offset + reach]
    return shifted


def sharpen(weights, gamma):
    """NTM eq. 9; a row of zeros stays zeros."""
    batch, heads, slots = weights.shape
    sharp = np.zeros((batch, heads, slots))
    for b in range(batch):
        for h in range(heads):
            powered = np.array([weights[b, h, i] ** gamma[b, h] for i in range(slots)])
            if powered.sum() > 0:
                sharp[b, h] = powered / powered.sum()
    return sharp


def sharpen_links(weights, sharpness):
    """CS19, section 3.3: every weighting by itself."""
    heads = weights.shape[2]
    each = [sharpen(weights[:, :, h], sharpness[:, :, h]) for h in range(heads)]
    return np.stack(each, axis=2)


_sharpen_links = sharpen_links  # `dnc_step` has an option of that name


def gru(weights, inputs, hidden):
    """Keras' GRUCell with reset_after=True: the reset gate acts after the recurrent product."""
    x = inputs @ weights["kernel"] + weights["bias"][0]
    inner = hidden @ weights["recurrent_kernel"] + weights["bias"][1]
    x_z, x_r, x_h = np.split(x, 3, axis=-1)
    h_z, h_r, h_h = np.split(inner, 3, axis=-1)
    z = sigmoid(x_z + h_z)
    candidate = np.tanh(x_h + sigmoid(x_r + h_r) * h_h)
    return z * hidden + (1.0 - z) * candidate


class Cursor:
    """Cuts a (B, S) interface vector into its pieces, from left to right."""

    def __init__(self, interface):
        self.interface = interface
        self.position = 0

    def take(self, *shape):
        size = int(np.prod(shape))
        piece = self.interface[:, self.position : self.position + size]
        self.position += size
        return piece.reshape(-1, *shape)

    def finish(self):
        assert self.position == self.interface.shape[1]


def control(weights, inputs, state, clip):
    """The controller's h_t, clipped, its own new state, and the interface vector."""
    batch = len(inputs)
    x = np.concatenate([inputs, state["read_vectors"].reshape(batch, -1)], axis=1)
    controller = gru(weights, x, state["controller"][0])
    hidden = controller if clip is None else np.clip(controller, -clip, clip)
    interface = hidden @ weights["interface_kernel"] + weights["interface_bias"]
    return hidden, controller, Cursor(interface)


def readout(weights, hidden, read_vectors):
    """y_t = W [h_t ; r_t] + b."""
    features = np.concatenate([hidden, read_vectors.reshape(len(hidden), -1)], axis=1)
    return features @ weights["readout_kernel"] + weights["readout_bias"]


def dnc_step(
    weights,
    inputs,
    state,
    clip=20.0,
    masked_lookup=False,
    erase_on_deallocation=False,
    sharpen_links=False,
    linkage="dense",
    num_links=None,
):
    """One step of a DNC with a GRU controller: `(outputs, state)`, the state as a dict."""
    memory = state["memory"]
    reads = state["read_weights"].shape[1]
    writes = state["write_weights"].shape[1]
    width = memory.shape[-1]
    hidden, controller, cursor = control(weights, inputs, state, clip)

    read_keys = cursor.take(reads, width)
    read_strengths = oneplus(cursor.take(reads))
    write_keys = cursor.take(writes, width)
    write_strengths = oneplus(cursor.take(writes))
    erase = sigmoid(cursor.take(writes, width))
    write_vectors = cursor.take(writes, width)
    free_gates = sigmoid(cursor.take(reads))
    allocation_gates = sigmoid(cursor.take(writes))
    write_gates = sigmoid(cursor.take(writes))
    modes = read_masks = write_masks = sharpness = None
    if linkage is not None:
        modes = np.apply_along_axis(softmax, -1, cursor.take(reads, 2 * writes + 1))
    if masked_lookup:
        read_masks = sigmoid(cursor.take(reads, width))
        write_masks = sigmoid(cursor.take(writes, width))
    if sharpen_links:
        sharpness = oneplus(cursor.take(reads, 2 * writes))
    cursor.finish()

    psi = retention(free_gates, state["read_weights"])
    usage = update_usage(state["usage"], state["write_weights"], psi)
    content = content_weights(memory, write_keys, write_strengths, write_masks)
    allocation = allocation_of_heads(usage, allocation_gates, write_gates)
    write_weights = write_weighting(allocation, content, allocation_gates, write_gates)
    if erase_on_deallocation:
        memory = deallocate(memory, psi)
    memory = erase_and_write(memory, write_weights, erase, write_vectors)
    links = _links(state, write_weights, linkage, num_links)
    content = content_weights(memory, read_keys, read_strengths, read_masks)
    if linkage is None:
        read_weights = content
    else:
        forward, backward = follow_links(links["link"], state["read_weights"])
        if sharpness is not None:
            backward = _sharpen_links(backward, sharpness[..., :writes])
            forward = _sharpen_links(forward, sharpness[..., writes:])
        read_weights = read_weighting(backward, content, forward, modes)
    read_vectors = read(memory, read_weights)
    return readout(weights, hidden, read_vectors), {
        "hidden": hidden,
        "controller": [controller],
        "memory": memory,
        "read_weights": read_weights,
        "write_weights": write_weights,
        "usage": usage,
        **links,
        "read_vectors": read_vectors,
    }


def _links(state, write_weights, linkage, num_links):
    """Links with the old precedence, and the precedence; sparse links stand in a dense matrix."""
    if linkage is None:
        return {}
    old = state["link"], state["precedence"], write_weights
    link = update_link(*old) if linkage == "dense" else update_sparse_link(*old, num_links)
    return {"link": link, "precedence": update_precedence(state["precedence"], write_weights)}


def ntm_step(weights, inputs, state, shift_range=1, clip=20.0):
    """One step of an NTM with a GRU controller: `(outputs, state)`, the state as a dict."""
    memory = state["memory"]
    reads, writes = state["read_weights"].shape[1], state["write_weights"].shape[1]
    width = memory.shape[-1]
    hidden, controller, cursor = control(weights, inputs, state, clip)
    read_heads = _ntm_heads(cursor, reads, width, shift_range)
    write_heads = _ntm_heads(cursor, writes, width, shift_range)
    erase = sigmoid(cursor.take(writes, width))
    add = cursor.take(writes, width)
    cursor.finish()

    write_weights = _ntm_weights(write_heads, memory, state["write_weights"])
    memory = erase_and_write(memory, write_weights, erase, add)
    read_weights = _ntm_weights(read_heads, memory, state["read_weights"])
    read_vectors = read(memory, read_weights)
    return readout(weights, hidden, read_vectors), {
        "hidden": hidden,
        "controller": [controller],
        "memory": memory,
        "read_weights": read_weights,
        "write_weights": write_weights,
        "read_vectors": read_vectors,
    }


def _ntm_heads(cursor, heads, width, shift_range):
    """(keys, strengths, gates, taps, gammas) of a group of heads."""
    return (
        cursor.take(heads, width),
        oneplus(cursor.take(heads)),
        sigmoid(cursor.take(heads)),
        np.apply_along_axis(softmax, -1, cursor.take(heads, 2 * shift_range + 1)),
        oneplus(cursor.take(heads)),
    )


def _ntm_weights(heads, memory, weights_tm1):
    """NTM figure 2."""
    keys, strengths, gates, taps, gammas = heads
    content = content_weights(memory, keys, strengths)
    return sharpen(shift(interpolate(content, weights_tm1, gates), taps), gammas)


def least_used(usage, count):
    """MANN eq. 6, one slot at a time: (B, count, N)."""
    batch, slots = usage.shape
    found = np.zeros((batch, count, slots))
    for b in range(batch):
        order = sorted(range(slots), key=lambda i: (usage[b, i] + i * TIE, i))
        for j in range(count):
            found[b, j, order[j]] = 1.0
    return found


def least_recently_used_write(read_weights, least_used, gate):
    """MANN eq. 7."""
    weights = np.zeros(read_weights.shape)
    for b, h, i in np.ndindex(weights.shape):
        g = gate[b, h]
        weights[b, h, i] = g * read_weights[b, h, i] + (1.0 - g) * least_used[b, h, i]
    return weights


def mann_memory(
    state, keys, gates, strengths=None, write_vectors=None, decay=0.95, shared_slots=False
):
    """One step of the MANN's memory: the new fields as a dict."""
    batch, heads, slots = state["read_weights"].shape
    vectors = keys if write_vectors is None else write_vectors
    strengths = np.ones((batch, heads)) if strengths is None else strengths
    chosen = least_used(state["usage"], heads)
    memory = np.array(state["memory"], np.float64)
    free = np.stack([chosen.sum(1)] * heads, 1) if shared_slots else chosen
    write_weights = least_recently_used_write(state["read_weights"], free, gates)
    for b in range(batch):
        memory[b, np.argmax(chosen[b, 0])] = 0.0
        for j in range(heads):
            for i in range(slots):
                memory[b, i] += write_weights[b, j, i] * vectors[b, j]
    read_weights = content_weights(memory, keys, strengths)
    usage = np.zeros((batch, slots))
    for b in range(batch):
        for i in range(slots):
            usage[b, i] = decay * state["usage"][b, i]
            for j in range(heads):
                usage[b, i] += read_weights[b, j, i] + write_weights[b, j, i]
    return {
        "memory": memory,
        "read_weights": read_weights,
        "write_weights": write_weights,
        "usage": usage,
        "read_vectors": read(memory, read_weights),
    }


def mann_step(
    weights,
    inputs,
    state,
    clip=20.0,
    decay=0.95,
    strengths=False,
    write_vectors=False,
    shared_slots=False,
):
    """One step of a MANN with a GRU controller: `(outputs, state)`, the state as a dict."""
    _, heads, _ = state["read_weights"].shape
    width = state["memory"].shape[-1]
    hidden, controller, cursor = control(weights, inputs, state, clip)
    keys = cursor.take(heads, width)
    gates = sigmoid(cursor.take(heads))
    beta = oneplus(cursor.take(heads)) if strengths else None
    vectors = np.tanh(cursor.take(heads, width)) if write_vectors else None
    cursor.finish()
    fields = mann_memory(state, keys, gates, beta, vectors, decay, shared_slots)
    outputs = readout(weights, hidden, fields["read_vectors"])
    return outputs, {"hidden": hidden, "controller": [controller], **fields}


def kanerva_memory(state, words, gates, queries, noise):
    """One step of a Kanerva cell's memory, head by head: the new fields as a dict.

    Its write heads address the last memory, all of them, and then write one after the other.
    """
    batch, slots, width = state["memory"].shape
    reads, writes = queries.shape[1], words.shape[1]
    mean, covariance = state["memory"].copy(), state["covariance"].copy()
    read_weights, write_weights = np.zeros((batch, reads, slots)), np.zeros((batch, writes, slots))
    read_vectors = np.zeros((batch, reads, width))
    for b in range(batch):
        for h in range(writes):
            write_weights[b, h] = _ridge(state["memory"][b], words[b, h], noise)
        for h in range(writes):
            w, z = write_weights[b, h], words[b, h]
            moved = covariance[b] @ w
            gain = moved / (w @ moved + noise / gates[b, h])
            mean[b] = mean[b] + np.outer(gain, z - mean[b].T @ w)
            covariance[b] = covariance[b] - np.outer(gain, moved)
        for r in range(reads):
            read_weights[b, r] = _ridge(mean[b], queries[b, r], noise)
            read_vectors[b, r] = mean[b].T @ read_weights[b, r]
    return {
        "memory": mean,
        "covariance": covariance,
        "read_weights": read_weights,
        "write_weights": write_weights,
        "read_vectors": read_vectors,
    }


def _ridge(mean, word, noise):
    """(R R^T + noise I)^-1 R z."""
    return np.linalg.solve(mean @ mean.T + noise * np.eye(len(mean)), mean @ word)


def kanerva_step(weights, inputs, state, noise=1.0, clip=20.0):
    """One step of a Kanerva cell with a GRU controller: `(outputs, state)`, the state as a dict."""
    reads, writes = state["read_weights"].shape[1], state["write_weights"].shape[1]
    width = state["memory"].shape[-1]
    hidden, controller, cursor = control(weights, inputs, state, clip)
    words = cursor.take(writes, width)
    gates = sigmoid(cursor.take(writes))
    queries = cursor.take(reads, width)
    cursor.finish()
    fields = kanerva_memory(state, words, gates, queries, noise)
    outputs = readout(weights, hidden, fields["read_vectors"])
    return outputs, {"hidden": hidden, "controller": [controller], **fields}


def tape_step(weights, inputs, state, clip=20.0, direct_access=False):
    """One step of a tape cell with a GRU controller: `(outputs, state)`, the state as a dict.

    `weights` has "symbols" (W, W) with direct access.
    """
    batch, slots, width = state["memory"].shape
    heads = state["read_weights"].shape[1]
    position, read_weights = np.zeros((batch, 1)), np.zeros((batch, heads, slots))
    read_vectors, symbols = np.zeros((batch, heads, width)), np.zeros((batch, width))
    for b in range(batch):
        move = int(np.round(np.clip(inputs[b, -1] - inputs[b, -3], -1, 1)))
        position[b, 0] = (int(state["position"][b, 0]) + move) % slots
        for r in range(heads):
            cell = (int(position[b, 0]) + r - heads // 2) % slots
            read_weights[b, r, cell] = 1.0
            read_vectors[b, r] = state["memory"][b, cell]
        if direct_access:
            symbols[b] = inputs[b, :width] @ weights["symbols"]
    hidden, controller, cursor = control(
        weights, inputs, {**state, "read_vectors": read_vectors}, clip
    )
    forget, words = sigmoid(cursor.take(heads)), np.tanh(cursor.take(heads, width))
    gates = sigmoid(cursor.take(3)) if direct_access else np.zeros((batch, 3))
    cursor.finish()
    memory, direct = state["memory"].copy(), np.zeros((batch, width))
    for b in range(batch):
        for r in range(heads):
            cell = (int(position[b, 0]) + r - heads // 2) % slots
            memory[b, cell] = forget[b, r] * memory[b, cell] + words[b, r]
        memory[b, int(position[b, 0])] += gates[b, 0] * symbols[b]
        direct[b] = gates[b, 1] * symbols[b] + gates[b, 2] * read_vectors[b, heads // 2]
    outputs = readout(weights, hidden, read_vectors)
    if direct_access:
        outputs[:, -width:] += direct
    fields = {"memory": memory, "read_weights": read_weights, "position": position}
    fields |= {"read_vectors": read_vectors, "direct": direct}
    return outputs, {"hidden": hidden, "controller": [controller], **fields}
