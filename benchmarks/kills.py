"""Whether a run that is killed at random moments ends as an undisturbed one.

python -m benchmarks.kills --kills 20 --method memory_forcing --json runs/kills.json

A small run is not disturbed; then the same run is killed by SIGKILL, resumed, killed again: while
it starts, trains, writes a checkpoint, and while it evaluates and draws. Each time it
must resume from the newest complete checkpoint. At the end weights, optimizers and random state,
the history's rows and the results must be bit-for-bit those of the undisturbed run. Training uses
the command lines, under XLA.
"""

import argparse
import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from typing import NamedTuple

import numpy as np

from benchmarks import measure

SMALL = "--controller-units 4 --memory-size 3 --word-size 2 --num-reads 1 --learning-rate 1e-2"
END = 2  # kills after the training, if there are at least 10
POLL = 0.002  # seconds between two looks at a run


class Method(NamedTuple):
    """How a method is run, and what its run leaves."""

    module: str
    options: str
    checkpoint: str
    history: str
    results: tuple  # .keras files that must be equal in the end
    per_save: int  # steps between two checkpoints
    steps: int  # of the whole training
    rows: int  # of the history


METHODS = {
    "memory_forcing": Method(
        "train.sequence_generation",
        "--dataset digits --method memory_forcing --epochs 4 --batch-size 32 --checkpoint-steps 2",
        "last.keras",
        "history.csv",
        ("last.keras", "best.keras"),
        per_save=2,
        steps=4 * 43,
        rows=4,
    ),
    "positive_negative": Method(
        "train.copy_task",
        "--method positive_negative --length 2 --width 1 --steps 50000 --checkpoint-windows 1 "
        "--capacity 64",
        "seed_0-last.keras",
        "seed_0.csv",
        ("seed_0.keras", "seed_0-half.keras"),
        per_save=1000,
        steps=50_000,
        rows=50,
    ),
}


class Run:
    """One start of a run, as a process of its own."""

    def __init__(self, method, folder):
        self.method, self.folder = method, folder
        self.checkpoint = folder / method.checkpoint
        self.left_over = self._temporaries()  # of the kill before
        resumed = folder.exists()
        arguments = ["--resume", str(folder)] if resumed else ["--out", str(folder)]
        arguments += [] if resumed else [*method.options.split(), *SMALL.split()]
        self.log = folder.with_suffix(".log")
        self.begin = time.monotonic()
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", method.module, *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self, reached, seconds=3600.0):
        """Until `reached()`, the end of the process or of the time; whether it was reached."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            if reached():
                return True
            time.sleep(POLL)
        return False

    def wait_for_saves(self, count):
        """Until so many checkpoints more are in place."""
        before = _identity(self.checkpoint)
        seen = set()

        def enough():
            seen.add(_identity(self.checkpoint))
            return len(seen - {before, None}) >= count

        return self.wait(enough)

    def writes(self):
        """Whether a checkpoint is being written, or was when the run was killed."""
        return bool(self._temporaries() - self.left_over)

    def _temporaries(self):
        return set(self.folder.glob(f".*.{self.method.checkpoint}"))

    def finish(self):
        """Wait for the end.

        Raises:
            RuntimeError: it was not a good one.
        """
        if self.process.wait() != 0:
            log = self.log.read_text(encoding="utf-8")
            raise RuntimeError(f"{self.log}:\n{log[-3000:]}")

    def kill(self):
        """Kill it; whether it was still alive."""
        alive = self.process.poll() is None
        self.process.send_signal(signal.SIGKILL)
        if self.process.wait() not in (0, -signal.SIGKILL):
            self.finish()
        return alive

    def resumed_from(self):
        """The step that it says it resumes from, if it says so."""
        found = re.search(r"resuming from step (\d+)", self.log.read_text(encoding="utf-8"))
        return int(found[1]) if found else None


def _identity(path):
    try:
        return path.stat().st_ino, path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def content(path):
    """All arrays of a .keras file by name."""
    import h5py

    found = {}
    with zipfile.ZipFile(path) as archive, h5py.File(archive.open("model.weights.h5")) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]} if hasattr(item, "shape") else {})
        )
    return found


def newest_step(checkpoint):
    """The step of the newest complete checkpoint, only by the files; 0 if there is none."""
    for path in (checkpoint, checkpoint.with_name(f"{checkpoint.stem}.previous.keras")):
        if path.exists() and zipfile.is_zipfile(path):
            return int(content(path)["optimizer/vars/0"])
    return 0


def differences(method, first, second):
    """What two run folders differ in, in words; an empty list if in nothing."""
    found = []
    for name in method.results:
        a, b = content(first / name), content(second / name)
        if set(a) != set(b) or any(a[key].tobytes() != b[key].tobytes() for key in a):
            found.append(name)
    histories = [_rows(folder / method.history) for folder in (first, second)]
    if histories[0] != histories[1]:
        found.append(method.history)
    results = [_without_seconds(folder / "results.json") for folder in (first, second)]
    if results[0] != results[1]:
        found.append("results.json")
    names = [{path.name for path in folder.iterdir()} for folder in (first, second)]
    return found + sorted(names[0] ^ names[1])


def _rows(path):
    """The lines of a history without the column of seconds."""
    header, *rows = (line.split(",") for line in path.read_text(encoding="utf-8").splitlines())
    keep = [i for i, name in enumerate(header) if name != "seconds"]
    return [[row[i] for i in keep] for row in (header, *rows)]


def _without_seconds(path):
    def keep(pairs):
        return {key: value for key, value in pairs if "seconds" not in key}

    return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=keep)


def undisturbed(method, folder):
    """Run to the end; seconds to the first checkpoint, between two, and of the ending."""
    run = Run(method, folder)
    run.wait_for_saves(1)
    first = time.monotonic()
    run.wait_for_saves(5)
    between = (time.monotonic() - first) / 5
    run.wait(lambda: _trained(method, folder))
    trained = time.monotonic()
    run.finish()
    return {
        "start": first - run.begin,
        "between": between,
        "end": time.monotonic() - trained,
    }


def _trained(method, folder):
    """Whether the training is over, and the run evaluates and draws."""
    history = folder / method.history
    return history.exists() and history.read_bytes().count(b"\n") > method.rows


def kinds(kills, chance):
    """When to kill: the moments' kinds in a random order, those of the ending last."""
    end = END if kills >= 10 else 0
    middle = [("writing", "training", "writing", "start")[i % 4] for i in range(kills - end)]
    chance.shuffle(middle)
    return middle + ["end"] * end


def kill_once(run, kind, times, left, chance):
    """Wait for a random moment of this kind, and kill; the row of the table."""
    method = run.method
    step = newest_step(run.checkpoint)
    if kind == "start":
        time.sleep(chance.uniform(0.0, times["start"]))
    elif kind == "end":
        run.wait(lambda: _trained(method, run.folder))
        time.sleep(chance.uniform(0.0, 0.6 * times["end"]))
    else:
        # So many that the kills that are left find a training that is not over.
        saves = (method.steps - step) // method.per_save
        run.wait_for_saves(chance.randint(0, max(0, min(2 * saves // (left + 2), saves - 4))))
        if kind == "writing":
            run.wait(run.writes)
            time.sleep(chance.uniform(0.0, 0.1))
        else:
            time.sleep(chance.uniform(0.0, times["between"]))
    seconds = time.monotonic() - run.begin
    alive = run.kill()
    broken = run.writes() or (run.folder.exists() and not run.checkpoint.exists())
    return {
        "kind": kind,
        "seconds": round(seconds, 1),
        "killed": alive,
        "resumed_from": run.resumed_from(),
        "left_at": newest_step(run.checkpoint),
        "in_a_write": bool(broken and kind != "start" and kind != "end"),
    }


def torture(method, folder, kills, times, chance):
    """Kill and resume until it ends; the rows of the table."""
    rows, expected = [], 0
    print(f"{'kill':>4} {'moment':9}{'seconds':>9}{'from step':>11}{'left at':>9}  in a write")
    for number, kind in enumerate(kinds(kills, chance)):
        run = Run(method, folder)
        row = kill_once(run, kind, times, kills - number - 1, chance)
        row["right_start"] = _right_start(row["resumed_from"], expected, row["left_at"])
        expected = row["left_at"]
        rows.append(row)
        print(
            f"{number + 1:4d} {kind:9}{row['seconds']:9.1f}{row['resumed_from'] or '-':>11}"
            f"{row['left_at']:9d}  {'yes' if row['in_a_write'] else ''}",
            flush=True,
        )
        if not row["killed"]:
            return rows
    run = Run(method, folder)
    run.finish()
    rows.append({"kind": "none", "right_start": (run.resumed_from() or 0) == expected})
    return rows


def _right_start(said, expected, left_at):
    """Whether a run resumed from the step that was expected.

    One that said nothing was killed before it had loaded anything, if it left all as it was, or it
    began anew, which is right where there was no checkpoint.
    """
    return said == expected if said is not None else expected in (0, left_at)


def main(arguments=None):
    """Kill, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--method", choices=sorted(METHODS), default="memory_forcing")
    parser.add_argument("--kills", type=int, default=20, help="default: 20")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; default: 0")
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    method = METHODS[options.method]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        times = undisturbed(method, folder / "whole")
        print(", ".join(f"{name}: {value:.2f}" for name, value in times.items()), flush=True)
        chance = random.Random(options.seed)
        rows = torture(method, folder / "killed", options.kills, times, chance)
        wrong = differences(method, folder / "whole", folder / "killed")
    killed = [row for row in rows if row.get("killed")]
    in_a_write = sum(row["in_a_write"] for row in killed)
    starts = np.mean([row["right_start"] for row in rows])
    print(
        f"{len(killed)} kills, {in_a_write} of them in the middle of a write; {starts:.0%} of the "
        f"starts from the newest complete checkpoint; different at the end: {wrong or 'nothing'}"
    )
    if options.json:
        measure.write_json(options.json, [*rows, {"method": options.method, "different": wrong}])
    if wrong or starts < 1.0:
        sys.exit(1)


if __name__ == "__main__":
    main()
