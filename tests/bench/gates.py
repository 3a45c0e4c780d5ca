#!/usr/bin/python3
"""bench/gates.py on tiny sets: slides that tell their classes by colour miss the gate of colour, labels that colour gives away miss that of shifted
labels, honest slides of 512 px get scores that scikit-learn gives too. Usage: gates.py CDUNET SOURCE"""
import csv, importlib.util, json, os, subprocess, sys, tempfile

import numpy as np
from PIL import Image
from sklearn.metrics import f1_score

sys.dont_write_bytecode = True
PROGRAM, SOURCE = sys.argv[1:3]
GATES = os.path.join(SOURCE, "bench", "gates.py")
spec = importlib.util.spec_from_file_location("gates", GATES)
gates = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gates)


def run(folder):
    got = subprocess.run([sys.executable, "-B", GATES, "colour", folder, "--results", os.path.join(folder, "results")], capture_output=True, text=True)
    assert got.returncode in (0, 1) and "Traceback" not in got.stderr, got.stderr
    with open(os.path.join(folder, "results", "results.json"), encoding="utf-8") as file:
        rows = {(row["gate"], row["what"]): row for row in json.load(file)}
    assert got.returncode == (0 if all(row["held"] for row in rows.values()) else 1), rows
    return rows


def paint(folder, color_of):
    """Every slide's colours become a function of its labels."""
    colors = np.array([[250, 250, 250], [60, 200, 60], [200, 60, 60], [220, 220, 40]], dtype=np.uint8)
    for name in os.listdir(os.path.join(folder, "slides")):
        labels = np.array(Image.open(os.path.join(folder, "masks", name)))
        labels[labels == 255] = 1
        Image.fromarray(colors[color_of(labels)]).save(os.path.join(folder, "slides", name))


def scores_are_those_of_scikit_learn():
    random = np.random.default_rng(3)
    truth, named = random.integers(0, 4, 5000), random.integers(0, 4, 5000)
    named[:2500] = truth[:2500]
    assert np.allclose(gates.scores(gates.count(truth, named)), f1_score(truth, named, average=None), atol=1e-9)
    # guesses that know nothing get what chance() says
    guessed = random.choice(4, 200000, p=(0.1, 0.2, 0.3, 0.4))
    about = gates.count(random.choice(4, 200000, p=(0.4, 0.3, 0.2, 0.1)), guessed)
    assert np.allclose(gates.chance(about[None]), gates.scores(about), atol=0.01), (gates.chance(about[None]), gates.scores(about))
    # slides of one class each: naming that class is no merit
    alone = np.array([np.diag([0, 100, 0, 0]), np.diag([0, 0, 100, 0])])
    assert np.allclose(gates.chance(alone), gates.scores(alone.sum(0)))


def main():
    scores_are_those_of_scikit_learn()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([PROGRAM, "--quiet", "phantom", folder, "--slides", "9", "--stains", "he,cea,pd1", "--size", "512x512", "--seed", "5"], check=True)
        with open(os.path.join(folder, "slides.csv"), newline="", encoding="utf-8") as file:
            assert {row["split"] for row in csv.DictReader(file)} == {"train", "test", "validation"}
        honest = run(folder)
        for gate, what in ((1, "histogram, H&E"), (1, "histogram, all assays"), (2, "windows, PD1"), (2, "windows, all assays"),
                           (5, "labels shifted by half, histogram"), (5, "labels shifted by half, windows"), (5, "assay alone")):
            assert (gate, what) in honest, (gate, what, list(honest))
        assert honest[1, "histogram, all assays"]["mean"] < 0.7, honest[1, "histogram, all assays"]
        paint(folder, lambda labels: labels)
        told = run(folder)
        for what in ("histogram, all assays", "histogram, CEA"):
            assert told[1, what]["mean"] > 0.98 and not told[1, what]["held"], told[1, what]
        assert not told[2, "windows, all assays"]["held"], told[2, "windows, all assays"]
        paint(folder, gates.half_shift(1, 0))
        shifted = run(folder)[5, "labels shifted by half, histogram"]
        assert not shifted["held"], shifted
    print("gates: scores, colour told, labels given away")


main()
