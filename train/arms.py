"""The arms of a comparison: what each method did with every seed; the files that tell of it.

A published folder is what a comparison writes: a table, a figure, and the CSV files that both are
made of. It can be compared again, and together with more runs.
"""

import csv
import io
import json
import pathlib

import numpy as np

from mf_keras import files, plots
from train.statistics import paired_interval

SEEDS, SETTINGS = "seeds.csv", "settings.json"
BASELINE = "teacher_forcing"
# In the order in which they stand in tables.
METHODS = {
    BASELINE: "teacher forcing",
    "professor_forcing": "Professor Forcing",
    "memory_forcing": "Memory Forcing",
    "positive_negative": "positive/negative",
}


def collect(paths, read):
    """The arms of several folders.

    Args:
        paths: of the folders.
        read: of one folder, a `pathlib.Path`: `(found, settings)`, found being tuples
            `(arm, seed, run)`, and settings what all runs of a comparison must share.

    Returns:
        `(arms, settings)`: arm -> seed -> run, `ordered`, and the settings.

    Raises:
        ValueError: settings differ, or a seed of an arm comes twice.
    """
    arms, shared = {}, None
    for path in map(pathlib.Path, paths):
        found, settings = read(path)
        if settings != (shared or settings):
            raise ValueError(f"{path} has other settings than the runs before it.")
        shared = settings
        for arm, seed, run in found:
            if seed in arms.setdefault(arm, {}):
                raise ValueError(f"seed {seed} of {arm} comes twice, again in {path}.")
            arms[arm][seed] = run
    return ordered(arms), shared


def ordered(arms):
    """Arms by the order of their methods and by their options' names, each by its seeds."""
    places = {method: place for place, method in enumerate(METHODS)}
    names = sorted(arms, key=lambda name: (places.get(name.split(" ")[0], len(places)), name))
    return {name: dict(sorted(arms[name].items())) for name in names}


def paired(arms):
    """The runs of the seeds that all arms have, and these seeds, `ordered`.

    Raises:
        ValueError: there is none.
    """
    seeds = sorted(set.intersection(*(set(arm) for arm in arms.values()))) if arms else []
    if not seeds:
        raise ValueError("the runs have no finished seed in common.")
    return {name: [arm[seed] for seed in seeds] for name, arm in ordered(arms).items()}, seeds


def name(config, options, defaults):
    """An arm's name: its method, and those of its options that are not the default ones.

    Args:
        config: of a run, a dict.
        options: names of what may differ between arms, but the method.
        defaults: a dict of all options.
    """
    parts = [config["method"]]
    if config["method"] != BASELINE:
        for option in sorted(options):
            value = config.get(option, defaults[option])
            if value != defaults[option]:
                parts.append("--" + option.replace("_", "-"))
                parts += [] if value is True else [f"{value:g}"]
    return " ".join(parts)


def words(method):
    """An arm's name as a reader wants it: `positive/negative, --no-gate`."""
    method, *options = method.split(" ", 1)
    return ", ".join([METHODS.get(method, method), *options])


def difference(arm, columns, digits):
    """An arm's paired difference to teacher forcing: `+0.35 (-0.55 to +1.25)`, of 95 %.

    Args:
        arm: its name.
        columns: arm -> (seeds,) numbers, NaN where one is not known.
        digits: after the point.

    Returns:
        "-" for teacher forcing itself, or where there are no two pairs, or one is not known.
    """
    if arm == BASELINE or BASELINE not in columns or len(columns[arm]) < 2:
        return "-"
    if not np.isfinite([columns[BASELINE], columns[arm]]).all():
        return "-"
    mean, low, high = (f"{x:+.{digits}f}" for x in paired_interval(columns[BASELINE], columns[arm]))
    return f"{mean} ({low} to {high})"


def read_csv(path, fields):
    """The rows of a CSV file, a dict of text each.

    Raises:
        ValueError: it has other columns.
    """
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != fields:
            raise ValueError(f"{path} must have the columns {','.join(fields)}.")
        yield from reader


def write_csv(fields, rows):
    """Rows, a dict each, as the text of a CSV file; what is not known, None or NaN, stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: "" if str(v) in ("None", "nan") else v for k, v in row.items()})
    return text.getvalue()


def write_settings(settings):
    """What all arms share, as JSON."""
    return json.dumps(settings, indent=2) + "\n"


def check_outputs(out, marks):
    """Refuse a folder where a file that is not ours would be replaced.

    Args:
        out: the folder, a `pathlib.Path`.
        marks: name of a file -> the bytes by which one of our making is known.

    Raises:
        OSError: as for `files.check_ours`.
    """
    for file, mark in marks.items():
        files.check_ours(out / file, mark)


def publish(out, figures, texts):
    """Write figures and texts, by their names, to a folder; each is whole or not there."""
    for file, figure in figures.items():
        plots.save(figure, out / file)
    for file, text in texts.items():
        with files.aside(out / file) as temporary:
            temporary.write_text(text)
