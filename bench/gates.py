#!/usr/bin/env python3
"""The gates of phantom slides: how far colour alone, small windows, a network and the true haematoxylin get on unseen cases.

    bench/gates.py all WORK               makes the sets in the folder WORK and runs every gate; what is there already is not made again
    bench/gates.py colour SET             gates 1, 2 and 5: a histogram, windows, labels that say nothing
    bench/gates.py network SET RUN        gate 3 (one assay); with --all on a set of `cdunet phantom --haematoxylin`: gate 4
    bench/gates.py table                  what was recorded, as a table of docs/phantom.md

Scores are F1 on the exact masks of the test slides, pixels of 1 um pooled; the mean is that of tissue, tumor and necrosis. Networks are trained on
the polygons drawn by hand; the validation slides choose the step. Each gate adds its row to bench/results/gates/results.json beside the commit of the
generator. Exits 1 where a gate is missed. Needs numpy, scipy, scikit-learn and Pillow.
"""
import argparse, csv, json, os, shutil, subprocess, sys

import numpy as np

CLASSES = ("background", "tissue", "tumor", "necrosis")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EXCLUDED = 255
ASSAYS = "H&E", "CEA", "Ki67/CD3", "CD163/CD68", "CD8/CD3", "FoxP3", "Ki67/CD8", "PRF/CD3", "PD1"


class Slide:
    """Pixels of 1 um and their classes, read when first asked for."""

    def __init__(self, folder, row):
        self.folder, self.name, self.assay, self.case, self.split = folder, row["slide"], row["stain"], row["case"], row["split"]
        self.row = row
        self.held = None

    def read(self):
        from PIL import Image
        Image.MAX_IMAGE_PIXELS = None
        if self.held is None:
            rgb = np.asarray(Image.open(os.path.join(self.folder, self.name)).convert("RGB"), dtype=np.float32)
            labels = np.asarray(Image.open(os.path.join(self.folder, "masks", os.path.basename(self.name))))
            height, width = (rgb.shape[0] // 2) * 2, (rgb.shape[1] // 2) * 2
            rgb = rgb[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
            self.held = np.round(rgb).astype(np.uint8), labels[0:height:2, 0:width:2].copy()
        return self.held


def slides_of(folder):
    with open(os.path.join(folder, "slides.csv"), newline="", encoding="utf-8") as file:
        return [Slide(folder, row) for row in csv.DictReader(file)]


def scores(confusion):
    """F1 of each class from confusion[truth, predicted]."""
    right = np.diag(confusion).astype(float)
    return 2 * right / np.maximum(confusion.sum(0) + confusion.sum(1), 1)


def count(truth, predicted):
    return np.bincount(truth.astype(np.int64) * 4 + predicted, minlength=16).reshape(4, 4)


def chance(confusions):
    """F1 of guesses that know nothing but how often each class was named on each slide: confusions[slide, truth, predicted]."""
    named, truth = confusions.sum(1), confusions.sum(2)
    pixels = np.maximum(truth.sum(1), 1)
    return scores((truth[:, :, None] * named[:, None, :] / pixels[:, None, None]).sum(0))


def mean_of_three(f1):
    return float(np.mean(f1[1:]))


# ---- gate 1: a histogram of 32^3 colours ----


def bins(rgb):
    small = (rgb >> 3).astype(np.int64)
    return (small[..., 0] * 32 + small[..., 1]) * 32 + small[..., 2]


def histogram(slides, labels_of=lambda labels: labels, only_tissue=False):
    from scipy.ndimage import gaussian_filter
    counts = np.zeros((4, 32 ** 3))
    for slide in slides:
        rgb, labels = slide.read()
        kept = usable(labels, labels_of(labels), only_tissue)
        counts += np.bincount(labels_of(labels)[kept].astype(np.int64) * 32 ** 3 + bins(rgb)[kept], minlength=4 * 32 ** 3).reshape(4, -1)
    # colours not seen in training take their neighbours' classes
    smooth = np.stack([gaussian_filter(c.reshape(32, 32, 32), 0.6).ravel() for c in counts])
    return np.argmax(smooth + 1e-9 * counts.sum(1, keepdims=True), axis=0)


def usable(labels, shown, only_tissue):
    kept = (labels != EXCLUDED) & (shown != EXCLUDED)
    return kept & (labels > 0) & (shown > 0) if only_tissue else kept


def histogram_confusions(best, slides, labels_of=lambda labels: labels, only_tissue=False):
    found = []
    for slide in slides:
        rgb, labels = slide.read()
        kept = usable(labels, labels_of(labels), only_tissue)
        found.append(count(labels_of(labels)[kept], best[bins(rgb)[kept]]))
    return np.array(found)


# ---- gate 2: mean and deviation in windows of 33 px ----


def windows(rgb):
    from scipy.ndimage import uniform_filter
    out = []
    for k in range(3):
        plane = rgb[..., k].astype(np.float64)
        mean = uniform_filter(plane, 33)
        out += [mean, np.sqrt(np.maximum(uniform_filter(plane * plane, 33) - mean * mean, 0))]
    return np.stack(out, axis=-1)


def draw(slides, each, random, labels_of, only_tissue):
    features, truth = [], []
    for slide in slides:
        rgb, labels = slide.read()
        shown = labels_of(labels)
        at = random.permutation(np.flatnonzero(usable(labels, shown, only_tissue)))[:each]
        features.append(windows(rgb).reshape(-1, 6)[at])
        truth.append(shown.ravel()[at])
    return features, truth


def forest_confusions(train, test, labels_of=lambda labels: labels, only_tissue=False):
    from sklearn.ensemble import RandomForestClassifier
    random = np.random.default_rng(1)
    forest = RandomForestClassifier(100, min_samples_leaf=5, n_jobs=2, random_state=1)
    forest.fit(*(np.concatenate(part) for part in draw(train, 1500, random, labels_of, only_tissue)))
    drawn = zip(*draw(test, 5000, random, labels_of, only_tissue))
    return np.array([count(truth, forest.predict(features).astype(np.int64)) for features, truth in drawn if len(truth)])


# ---- results ----


def commit_of_generator():
    if not shutil.which("git") or not os.path.exists(os.path.join(ROOT, ".git")):
        return "unknown"

    def git(*words):
        return subprocess.run(("git", "-C", ROOT) + words, capture_output=True, text=True, check=True).stdout.strip()
    return git("log", "-1", "--format=%h", "--", "tools/phantom") + ("+changed" if git("status", "--porcelain", "--", "tools/phantom") else "")


class Results:
    def __init__(self, folder, settings):
        self.path = os.path.join(folder, "results.json")
        self.settings, self.rows = settings, []

    def add(self, gate, what, f1, limit, above, **more):
        value = mean_of_three(f1)
        held = value >= limit if above else value <= limit
        row = {"gate": gate, "what": what, "mean": round(value, 3), "limit": round(limit, 3), "bound": "least" if above else "most", "held": bool(held),
               "f1": {name: round(float(x), 3) for name, x in zip(CLASSES, f1)}, **more}
        self.rows.append(dict(row, **self.settings))
        print(f"gate {gate}  {what:28s} {value:.3f}  at {row['bound']} {limit:.2f}  {'held' if held else 'MISSED'}   "
              + " ".join(f"{x:.2f}" for x in f1[1:]), flush=True)

    def write(self):
        """Earlier rows of the same gate, subject and set give way, and all that another generator made."""
        rows = []
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                rows = json.load(file)
        new = {(row["gate"], row["what"], row["set"], row["slides"]) for row in self.rows}
        rows = [row for row in rows if row["generator"] == self.settings["generator"] and
                (row["gate"], row["what"], row["set"], row["slides"]) not in new] + self.rows
        rows.sort(key=lambda row: (row["gate"], row["set"], row["slides"]))
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
            file.write("\n")
        os.replace(self.path + ".new", self.path)
        return all(row["held"] for row in self.rows)


def half_shift(down, right):
    """Labels of another place: moved by half of the slide's height, width or both."""
    return lambda labels: np.roll(labels, (down * (labels.shape[0] // 2), right * (labels.shape[1] // 2)), (0, 1))


def shifted_confusions(confusions_of):
    """Over all three shifts: one alone leaves few places of few cases."""
    return np.concatenate([confusions_of(half_shift(down, right)) for down, right in ((1, 0), (0, 1), (1, 1))])


def colour(slides, results):
    train, test = ([s for s in slides if s.split == split] for split in ("train", "test"))
    for assay in ASSAYS:
        own_train, own_test = ([s for s in group if s.assay == assay] for group in (train, test))
        if not own_train or not own_test:
            continue
        results.add(1, f"histogram, {assay}", scores(histogram_confusions(histogram(own_train), own_test).sum(0)), 0.65, False)
        results.add(2, f"windows, {assay}", scores(forest_confusions(own_train, own_test).sum(0)), 0.75, False)
    results.add(1, "histogram, all assays", scores(histogram_confusions(histogram(train), test).sum(0)), 0.55, False)
    results.add(2, "windows, all assays", scores(forest_confusions(train, test).sum(0)), 0.75, False)
    # the slides' layout puts glass at the rim, so labels that say nothing are judged where both truths are tissue of some kind
    # and a slide with much tumor has much of it wherever labels are moved: chance knows each slide's shares
    shifted = shifted_confusions(lambda by: histogram_confusions(histogram(train, by, True), test, by, True))
    results.add(5, "labels shifted by half, histogram", scores(shifted.sum(0)), mean_of_three(chance(shifted)) + 0.05, False)
    shifted = shifted_confusions(lambda by: forest_confusions(train, test, by, True))
    results.add(5, "labels shifted by half, windows", scores(shifted.sum(0)), mean_of_three(chance(shifted)) + 0.05, False)
    by_assay, total = {}, np.zeros((4, 4), dtype=np.int64)
    for slide in train:
        by_assay[slide.assay] = by_assay.get(slide.assay, 0) + np.bincount(slide.read()[1].ravel(), minlength=256)[1:4]
    for slide in test:
        labels = slide.read()[1]
        truth = labels[(labels > 0) & (labels != EXCLUDED)]
        total += count(truth, np.full(truth.shape, 1 + np.argmax(by_assay[slide.assay]), dtype=np.int64))
    results.add(5, "assay alone", scores(total), mean_of_three(chance(total[None])) + 0.05, False)


# ---- gates 3 and 4: a network ----


def study_for(folder, run, slides, arguments):
    """A study of those slides in the run's own folder; settings are the set's but for the model, UNET, and the learning rate."""
    os.makedirs(run, exist_ok=True)
    with open(os.path.join(folder, "study.yaml"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    own = {"model": f"model: {{kind: unet, width: {arguments.width}, depth: 5}}", "learning-rate": f"  learning-rate: {arguments.learning_rate}"}
    lines = [own.get(line.split(":")[0].strip(), line) for line in lines]
    with open(os.path.join(run, "slides.csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(slides[0].row))
        writer.writeheader()
        for slide in slides:
            row = dict(slide.row)
            for key in ("slide", "annotation"):
                row[key] = os.path.abspath(os.path.join(folder, row[key]))
            writer.writerow(row)
    path = os.path.join(run, "study.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path


def network(slides, results, arguments):
    chosen = slides if arguments.all else [s for s in slides if s.assay == arguments.assay]
    study, out = study_for(arguments.folder, arguments.run, chosen, arguments), os.path.join(arguments.run, "run")
    program = os.path.join(arguments.build, "cdunet")
    train = [program, "train", study, "--out", out, "--max-steps", str(arguments.steps), "--device", arguments.device, "--no-report"]
    if os.path.exists(os.path.join(out, "log.csv")):
        train.append("--resume")
    subprocess.run(train, check=True)
    with open(os.path.join(out, "log.csv"), newline="", encoding="utf-8") as file:
        validated = [row for row in csv.DictReader(file) if row["macro F1"]]
    evaluate = [program, "evaluate", study, "--model", os.path.join(out, "model.safetensors"), "--device", arguments.device, "--no-report", "--json"]
    exact, by_hand = (os.path.join(arguments.run, name) for name in ("exact.json", "hand.json"))
    subprocess.run(evaluate + [exact, "--masks", os.path.join(arguments.folder, "masks")], check=True)
    subprocess.run(evaluate + [by_hand], check=True)
    f1, hand = scored(exact), scored(by_hand)
    more = {"macro F1": round(float(np.mean(f1)), 3), "by hand": round(mean_of_three(hand), 3), "step": arguments.steps, "steps": arguments.steps,
            "learning rate": arguments.learning_rate}
    if validated:  # else the steps ended within the first epoch, and the model is the last state
        best = max(validated, key=lambda row: float(row["macro F1"]))
        more.update({"step": int(best["step"]), "validation macro F1": round(float(best["macro F1"]), 3)})
    if arguments.all:
        results.add(4, f"UNET of width {arguments.width}, haematoxylin alone", f1, 0.85, True, **more)
    else:
        results.add(3, f"UNET of width {arguments.width}, {arguments.assay}", f1, 0.80 if arguments.width < 16 else 0.85, True, **more)


def scored(path):
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    return np.array([f1_of(found, name) for name in CLASSES])


# ---- all of them ----


def everything(arguments):
    """Sets of their own and every gate on them, each by the commands above, so that the last answer is as good as the first."""
    def set_of(name, cases, stains, *more):
        folder = os.path.join(arguments.folder, name)
        if not os.path.exists(os.path.join(folder, "made")):
            slides = cases * (9 if stains == "all" else 1)
            subprocess.run([os.path.join(arguments.build, "cdunet"), "phantom", folder, "--slides", str(slides), "--stains", stains,
                            "--size", "2048x2048", "--seed", str(arguments.seed), *more], check=True)
            with open(os.path.join(folder, "made"), "w", encoding="utf-8"):
                pass
        return folder
    own = [sys.executable, os.path.abspath(__file__)]
    passed_on = ["--device", arguments.device, "--build", arguments.build, "--results", arguments.results]

    def network_of(folder, name, *more):
        return own + ["network", folder, os.path.join(arguments.folder, name), *more] + passed_on
    one_assay, all_assays = set_of("he", 2 * arguments.cases, "he"), set_of("slides", arguments.cases, "all")
    gates = [network_of(one_assay, "width8", "--width", "8"), own + ["colour", all_assays, "--results", arguments.results],
             network_of(set_of("haematoxylin", arguments.cases, "all", "--haematoxylin"), "bare8", "--all", "--steps", str(2 * arguments.steps + 100)),
             network_of(one_assay, "width16", "--width", "16")]
    return all([subprocess.run(gate, check=False).returncode == 0 for gate in gates])


def table(folder):
    with open(os.path.join(folder, "results.json"), encoding="utf-8") as file:
        rows = json.load(file)
    print("| gate | what | F1, mean of three | limit | tissue | tumor | necrosis | |\n| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        of = " | ".join(f"{row['f1'][name]:.2f}" for name in CLASSES[1:])
        bound = ">=" if row["bound"] == "least" else "<="
        print(f"| {row['gate']} | {row['what']} | {row['mean']:.3f} | {bound} {row['limit']:.2f} | {of} | {'held' if row['held'] else 'missed'} |")


def f1_of(found, name):
    for row in found["classes"]:
        if row["class"].lower() == name:
            return row["f1"] or 0
    raise SystemExit(f"gates: the scores have no class {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("all", "colour", "network", "table"))
    parser.add_argument("folder", nargs="?", help="what `cdunet phantom` wrote; for `all` a folder to work in")
    parser.add_argument("run", nargs="?", help="folder for the network's run")
    parser.add_argument("--assay", default="H&E", choices=ASSAYS)
    parser.add_argument("--all", action="store_true", help="all slides of the set, which holds the haematoxylin alone")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument("--cases", type=int, default=15, help="of the sets of all assays that `all` makes, twice as many of H&E (default: 15)")
    parser.add_argument("--seed", type=int, default=21, help="of these sets (default: 21)")
    parser.add_argument("--device", default="opencl:0")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--results", default=os.path.join(ROOT, "bench", "results", "gates"))
    arguments = parser.parse_args()
    if arguments.what == "table":
        table(arguments.results)
        return 0
    if not arguments.folder or (arguments.what == "network" and not arguments.run):
        parser.error(f"{arguments.what} needs a folder" + (" and a folder RUN" if arguments.what == "network" else ""))
    if arguments.what == "all":
        return 0 if everything(arguments) else 1
    slides = slides_of(arguments.folder)
    with open(os.path.join(arguments.folder, "study.yaml"), encoding="utf-8") as file:
        about = file.readline().strip("# \n").split(". ")[0]
    results = Results(arguments.results, {"set": about, "slides": len(slides), "generator": commit_of_generator()})
    if arguments.what == "colour":
        colour(slides, results)
    else:
        network(slides, results, arguments)
    return 0 if results.write() else 1


if __name__ == "__main__":
    sys.exit(main())
