"""Suggestions beside fastText's supervised classifier, taught and tried on the same folds of the seed corpus.

fastText gets what it is made for: words, pairs of words and characters inside words, a softmax over the areas. Speed,
loading and memory are measured of each in a process of its own, the shipped model beside fastText's of the last fold;
ours then gives a whole verdict, with rules, place, kind, flags and reasons. Takes about twenty minutes.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.table import Row
from mailrouter import config, corpus, fitting, learning, organisation
from mailrouter.classify import text as texts
from mailrouter.fitting import Lessons

MAILS = 1_000  # that speed is measured on
FLOOR = 1.05  # ours must be right clearly more often
SLOWEST = 1000 / 3  # suggestions a second that make three milliseconds each
LOADED = 1.0  # seconds in which a model must be read
_TAUGHT = "-dim 100 -epoch 30 -lr 0.5 -wordNgrams 2 -minn 2 -maxn 5 -bucket 200000 -minCount 2 -thread 2 -verbose 0"
_OURS = """
import json, sys, time
started = time.perf_counter()
from datetime import date
from mailrouter import classify, config
classifier = classify.load(config.Classify())
loaded = time.perf_counter() - started
queries = [classify.Query(str(number), "", text) for number, text in enumerate(json.load(sys.stdin))]
started = time.perf_counter()
for query in queries:
    classifier.classify([query], date(2026, 1, 1))
print(json.dumps([loaded, time.perf_counter() - started]))
"""


def measure(rounds: int, folder: Path) -> Iterator[Row]:
    """Accuracy, a pair a fold; speed and loading, a pair a round. Memory is said in a line of its own."""
    settings = config.Classify()
    city = organisation.load(settings.organisation)
    seed = settings.models / "corpus"
    learnt = fitting.lessons(corpus.seed(seed, city) + corpus.words(seed, city), city)
    written = [" ".join(texts.words(texts.readable(row.query.subject, row.query.body))) for row in learnt.rows]
    areas, units = [], []
    for teach, held in learning.folds(learnt.groups, learnt.tested):
        test = learnt.tested[held]
        own = learning.fit_areas(learnt.examples.part(teach), learnt.family).scores(learnt.examples.matrix[test])
        found = (_fasttext(learnt, written, teach, test, folder), own.argmax(axis=1))
        areas.append(_right(found, learnt.examples.labels[test], np.arange(len(learnt.areas))))
        units.append(_right(found, learnt.examples.labels[test], learnt.family))
    yield Row("area right out of fold, %", "fasttext", areas, FLOOR, 1.1)
    yield Row("unit right out of fold, %", "fasttext", units, FLOOR, 1.1)
    sample = [written[int(index)] for index in learnt.tested[:: max(1, len(learnt.tested) // MAILS)]][:MAILS]
    runs = [(_their_process(sample, folder), _our_process(sample)) for _ in range(rounds)]
    rates = [(their.rate, our.rate) for their, our in runs]
    loads = [(1 / their.loaded, 1 / our.loaded) for their, our in runs]
    yield Row("suggestions a second, one at a time", "fasttext", rates, SLOWEST / _middle(rates), 1.0)
    yield Row("models loaded a second", "fasttext", loads, 1 / LOADED / _middle(loads), 1.0)
    their, our = runs[-1]
    print(f"largest memory: fasttext {their.megabytes:.0f} MB, ours {our.megabytes:.0f} MB")


def _middle(pairs: Sequence[tuple[float, float]]) -> float:
    return sorted(theirs for theirs, _ in pairs)[len(pairs) // 2]


def _right(
    found: tuple[NDArray[np.intp], NDArray[np.intp]], labels: NDArray[np.intp], as_: NDArray[np.intp]
) -> tuple[float, float]:
    """Per cent of theirs and of ours that are right, areas taken for what ``as_`` says they are."""
    theirs, ours = (100 * float((as_[answers] == as_[labels]).mean()) for answers in found)
    return theirs, ours


def _fasttext(
    learnt: Lessons, written: Sequence[str], teach: NDArray[np.intp], test: NDArray[np.intp], folder: Path
) -> NDArray[np.intp]:
    """The areas fastText suggests for the tested mails."""
    labels = learnt.examples.labels
    lines = (f"__label__{labels[index]} {written[int(index)]}\n" for index in teach)
    (folder / "teach.txt").write_text("".join(lines), encoding="utf-8")
    command = ["fasttext", "supervised", "-input", str(folder / "teach.txt"), "-output", str(folder / "fasttext")]
    subprocess.run([*command, *_TAUGHT.split()], check=True, capture_output=True)
    asked = "".join(f"{written[int(index)]} \n" for index in test)
    told = subprocess.run(_predict(folder), input=asked, text=True, check=True, capture_output=True).stdout
    return np.array([int(line.removeprefix("__label__") or 0) for line in told.splitlines()])


def _predict(folder: Path) -> list[str]:
    return ["fasttext", "predict", str(folder / "fasttext.bin"), "-"]


class _Run:
    """A process that loaded a model and used it."""

    def __init__(self, rate: float, loaded: float, megabytes: float) -> None:
        self.rate, self.loaded, self.megabytes = rate, loaded, megabytes


def _their_process(sample: Sequence[str], folder: Path) -> _Run:
    """One mail shows what loading takes, many show what is added by each."""
    _, loading, _ = _timed(_predict(folder), "en rad\n")
    _, all_, megabytes = _timed(_predict(folder), "".join(f"{text} \n" for text in sample))
    return _Run(len(sample) / max(all_ - loading, 1e-3), loading, megabytes)


def _our_process(sample: Sequence[str]) -> _Run:
    told, _, megabytes = _timed([sys.executable, "-c", _OURS], json.dumps(sample))
    loading, used = json.loads(told)
    return _Run(len(sample) / used, loading, megabytes)


def _timed(command: Sequence[str], asked: str) -> tuple[str, float, float]:
    """What a process says, its seconds and its largest memory in megabytes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if process.stdin is None or process.stdout is None:
        raise OSError("the process has no pipes")
    process.stdin.write(asked)
    process.stdin.close()
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise OSError(f"{command[0]} failed")
    return told, time.perf_counter() - started, usage.ru_maxrss / 1024
