#!/usr/bin/env python3
"""Scores of `cdunet evaluate` against scikit-learn's on the same label maps: all slides, each stain, case and slide, with and without the
band along class boundaries (distances by SciPy), intervals against NumPy's resampling. Exits 77 where a module is missing.

Usage: scores.py PROGRAM SCRATCH
"""
import csv
import json
import os
import shutil
import sys
import warnings

try:
    import numpy as np
    from PIL import Image
    from scipy.ndimage import distance_transform_edt
    from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, precision_score, recall_score
except ImportError as missing:
    print(f"skipped: {missing}; the tests' packages are listed in ./dev")
    sys.exit(77)
from study import BOUNDARY, CLASSES, LABELS, SLIDES, make_study, run as run_program

def near_boundary(truth):
    """Pixels with one of another class within BOUNDARY."""
    near = np.zeros(truth.shape, bool)
    for c in LABELS:
        if (truth == c).any():
            near |= (distance_transform_edt(truth != c) <= BOUNDARY) & (truth != c) & (truth != 255)
    return near


def check(what, got, expected, limit=1e-6):
    if got is None or abs(got - expected) > limit:
        sys.exit(f"{what}: {got} but {expected} is right")
    return 1


def compare(what, scores, truth, predicted):
    """One matrix of the file against scikit-learn on the same pixels."""
    checked = 0
    matrix = confusion_matrix(truth, predicted, labels=LABELS)
    if not (np.array(scores["confusion"]) == matrix).all():
        sys.exit(f"{what}: confusion {scores['confusion']} but {matrix.tolist()} is right")
    for name, function in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score), ("iou", jaccard_score)):
        each = function(truth, predicted, labels=LABELS, average=None)
        some = [bool(matrix[:, c].sum() if name == "precision" else matrix[c].sum() if name == "recall" else
                     matrix[c].sum() + matrix[:, c].sum()) for c in LABELS]
        for c in LABELS:
            if some[c]:
                checked += check(f"{what}, {name} of {CLASSES[c]}", scores["classes"][c][name], each[c])
            elif scores["classes"][c][name] is not None:
                sys.exit(f"{what}: {name} of {CLASSES[c]} has no value but {scores['classes'][c][name]} is there")
        if all(some):
            checked += check(f"{what}, macro {name}", scores["macro"][name], function(truth, predicted, labels=LABELS, average="macro"))
    return checked


def f1_of(matrix):
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return 2 * hits / (matrix.sum(-1) + matrix.sum(-2))


def check_intervals(scores, cases):
    """NumPy's resampling draws other cases: ends agree as far as 2000 draws can."""
    random = np.random.default_rng(1)
    drawn = cases[random.integers(0, len(cases), (20000, len(cases)))].sum(1)
    f1 = f1_of(drawn)
    checked = 0
    for c, values in [(c, f1[:, c]) for c in LABELS] + [("macro", f1.mean(1))]:
        entry = scores["macro"] if c == "macro" else scores["classes"][c]
        low, high = entry["f1_interval"]
        if not low <= entry["f1"] <= high:
            sys.exit(f"the interval of {c} does not hold its F1: {low} to {high}, {entry['f1']}")
        for end, share in ((low, 2.5), (high, 97.5)):
            a, b = np.percentile(values, [max(share - 1.5, 0), min(share + 1.5, 100)])
            if not a - 1e-9 <= end <= b + 1e-9:
                sys.exit(f"interval of {c}: {share} % at {end}, NumPy has it between {a} and {b}")
            checked += 1
    return checked


def check_csv(path, scores):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    count = (len(CLASSES) + 1) * (1 + len(scores["by_stain"]) + len(scores["by_case"]) + len(scores["by_slide"]))
    if len(rows) != count:
        sys.exit(f"{path}: {len(rows)} rows, {count} expected")
    groups = {("all", ""): scores}
    for group in ("stain", "case", "slide"):
        groups.update({(group, part[group]): part for part in scores["by_" + group]})
    for row in rows:
        part = groups[row["group"], row["name"]]
        entry = part["macro"] if row["class"] == "macro" else part["classes"][CLASSES.index(row["class"])]
        for name in ("precision", "recall", "f1", "iou"):
            if (row[name] == "") != (entry[name] is None) or (row[name] and abs(float(row[name]) - entry[name]) > 1e-6):
                sys.exit(f"{path}: {row} but the JSON has {entry[name]}")
        if int(row["excluded pixels"]) != part["excluded_pixels"]:
            sys.exit(f"{path}: excluded pixels differ from the JSON: {row}")


def main():
    program, folder = os.path.abspath(sys.argv[1]), sys.argv[2]
    warnings.filterwarnings("ignore")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    make_study(folder)

    def run(*words):
        return run_program(program, folder, *words)
    run("train", "study.yaml", "--out", "run", "--device", "opencl:0")
    order = ("evaluate", "study.yaml", "--model", "run/model.safetensors", "--device", "opencl:0")
    text = run(*order, "--json", "scores.json", "--csv", "scores.csv")
    run(*order, "--json", "again.json", "--threads", "1")
    with open(f"{folder}/scores.json") as first, open(f"{folder}/again.json") as second:
        scores, again = first.read(), second.read()
    if scores != again:
        sys.exit("the second evaluation gives another file")
    scores = json.loads(scores)
    slides = []
    for i, (stain, case, split) in enumerate(SLIDES):
        if split != "test":
            continue
        run("segment", f"slide{i}.png", "--model", "run/model.safetensors", "--out", f"map{i}.tif", "--slide-mpp", "1", "--device", "opencl:0")
        truth, predicted = np.array(Image.open(f"{folder}/truth{i}.png")), np.array(Image.open(f"{folder}/map{i}.tif"))
        slides.append((f"slide{i}.png", stain, case, truth, predicted, near_boundary(truth)))
    groups = [("all", scores, slides)]
    for key, place in (("stain", 1), ("case", 2), ("slide", 0)):
        names = [os.path.basename(part[key]) for part in scores["by_" + key]]
        if sorted(names) != sorted({slide[place] for slide in slides}):
            sys.exit(f"by_{key} has {names}")
        groups += [(f"{key} {name}", part, [s for s in slides if s[place] == name]) for name, part in zip(names, scores["by_" + key])]
    checked = 0
    for what, part, members in groups:
        truth, predicted, near = (np.concatenate([m[k].ravel() for m in members]) for k in (3, 4, 5))
        some, off = truth != 255, (truth != 255) & ~near
        checked += compare(what, part, truth[some], predicted[some])
        checked += compare(what + " off boundary", part["off_boundary"], truth[off], predicted[off])
        for name, right in (("excluded_pixels", (~some).sum()), ("boundary_pixels", near.sum()), ("pixels", some.sum())):
            checked += check(f"{what}, {name}", part[name], right, 0)
    cases = {}
    for _, _, case, truth, predicted, _ in slides:
        some = truth != 255
        cases[case] = cases.get(case, 0) + confusion_matrix(truth[some], predicted[some], labels=LABELS)
    checked += check_intervals(scores, np.array(list(cases.values())))
    check_csv(f"{folder}/scores.csv", scores)
    if [os.path.basename(s) for s in scores["slides_without_truth"]] != ["bare.png"] or "bare.png" not in text:
        sys.exit(f"the slide without annotation is not told: {scores['slides_without_truth']}")
    print(f"{checked} numbers as scikit-learn, SciPy and NumPy have them")


main()
