"""Whether concurrent clients of a served model all get their own responses, and how fast.

python -m benchmarks.clients --clients 8 --seconds 60

Every client requests rows of seeds and temperatures drawn at random, a random number of rows, and
compares the response to that of the same model to one-row requests: samples bit-for-bit, NLLs to
1e-4 nats. The server is the tests' stand-in, which joins requests to batches, unless `--url` names
another one, e.g. a `tensorflow_model_server` of the same model.
"""

import argparse
import contextlib
import pathlib
import resource
import threading
import time

import numpy as np

from mf_keras.serving import Client, ServerError

KNOWN = 64  # rows whose responses are known
# Nats. On some processors the matrix product of a larger batch is rounded otherwise.
ROUNDING = 1e-4


def known_answers(client):
    """Seeds, temperatures, samples and NLLs of rows that were requested one by one."""
    random = np.random.default_rng(0)
    seeds = random.integers(0, 2**62, KNOWN)
    temperatures = random.uniform(0.5, 2.0, KNOWN).astype("float32")
    pairs = [client.sample(*row) for row in zip(seeds.tolist(), temperatures, strict=True)]
    samples, nll = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return seeds, temperatures, samples, nll


def hammer(make_client, known, clients, seconds, most_rows=8):
    """Let clients send requests at once for some time.

    Args:
        make_client: gives a new client.
        known: what `known_answers` gave.
        clients: how many, each in a thread.
        seconds: for how long.
        most_rows: of a request.

    Returns:
        A dict: answers (responses), rows, wrong (responses with a row that differs), lost (requests
        with no response), seconds, latencies (of every response, in seconds).
    """
    totals = dict.fromkeys(("answers", "rows", "wrong", "lost"), 0)
    latencies = []
    lock = threading.Lock()
    seeds, temperatures, samples, nll = known
    begin = time.monotonic()

    def work(number):
        random = np.random.default_rng(number)
        with make_client() as client:
            while time.monotonic() - begin < seconds:
                rows = random.choice(KNOWN, random.integers(1, most_rows + 1))
                asked = time.monotonic()
                try:
                    answer = client.sample(seeds[rows], temperatures[rows])
                except ServerError:
                    counts = {"lost": 1}
                else:
                    latencies.append(time.monotonic() - asked)
                    right = np.array_equal(answer[0], samples[rows])
                    right = right and np.abs(answer[1] - nll[rows]).max() <= ROUNDING
                    counts = {"answers": 1, "rows": len(rows), "wrong": int(not right)}
                with lock:
                    for name, count in counts.items():
                        totals[name] += count

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {**totals, "seconds": time.monotonic() - begin, "latencies": latencies}


def beside_greedy_clients(make_client, clients, rows, seconds):
    """How long one-row requests take while other clients request as many rows as they can.

    Args:
        make_client: gives a new client.
        clients: how many greedy ones.
        rows: of each of their requests.
        seconds: for how long; a request that has begun is waited for.

    Returns:
        `(seconds of every one-row request, number of responses to greedy requests)`.
    """
    latencies, answered = [], []
    end = time.monotonic() + seconds

    def ask_for_many():
        with make_client() as client:
            while time.monotonic() < end:
                try:
                    client.sample(range(rows))
                except ServerError as error:
                    print(f"{rows} rows: {error}")
                    return
                answered.append(rows)

    greedy = [threading.Thread(target=ask_for_many) for _ in range(clients)]
    with make_client() as client:
        client.sample(0)
        for thread in greedy:
            thread.start()
        while time.monotonic() < end:
            begin = time.monotonic()
            client.sample(0)
            latencies.append(time.monotonic() - begin)
    for thread in greedy:
        thread.join()
    return np.array(latencies), len(answered)


def peak_memory():
    """The largest resident set of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def server(options):
    """The URL to query, and the stand-in's model, or None."""
    if options.url:
        yield options.url, None
        return
    from tests.serving.server import serve

    with serve(pathlib.Path(options.folder)) as (model, rpc, rest):
        yield {"grpc": rpc, "rest": rest}[options.transport], model


def main(arguments=None):
    """Send requests, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--clients", type=int, default=8, help="default: 8")
    parser.add_argument("--seconds", type=float, default=60.0, help="default: 60")
    parser.add_argument("--folder", default="saved_models/digits/1", help="the version to serve")
    parser.add_argument("--transport", choices=("grpc", "rest"), default="grpc")
    parser.add_argument("--url", help="query this server instead of the stand-in")
    parser.add_argument(
        "--greedy",
        type=int,
        metavar="ROWS",
        help="time one-row requests beside clients that request so many rows",
    )
    options = parser.parse_args(arguments)
    name = pathlib.Path(options.folder).absolute().parent.name
    with server(options) as (url, model):

        def make_client():
            return Client(url, name, timeout=600.0 if options.greedy else 60.0)

        if options.greedy:
            begin = peak_memory()
            latencies, answered = beside_greedy_clients(
                make_client, options.clients, options.greedy, options.seconds
            )
            p50, p99 = np.percentile(1000 * latencies, [50, 99])
            print(
                f"beside {answered} requests of {options.greedy} rows: {len(latencies)} one-row "
                f"requests, p50 {p50:.0f} ms, p99 {p99:.0f} ms; peak memory {peak_memory():.0f} "
                f"MiB, {begin:.0f} before"
            )
            return
        with make_client() as client:
            known = known_answers(client)
        if model:
            model.batches.clear()
        result = hammer(make_client, known, options.clients, options.seconds)
        p50, p99 = np.percentile(1000 * np.array(result["latencies"]), [50, 99])
        print(
            f"{options.clients} clients, {result['seconds']:.0f} s: {result['answers']} responses "
            f"of {result['rows']} rows, {result['wrong']} wrong, {result['lost']} lost; p50 "
            f"{p50:.0f} ms, p99 {p99:.0f} ms"
        )
        if model:
            print(f"{len(model.batches)} batches, of {np.mean(model.batches):.1f} requests each")


if __name__ == "__main__":
    main()
