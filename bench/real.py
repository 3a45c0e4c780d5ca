#!/usr/bin/env python3
"""Small real pictures: UNET and CD-UNET trained on some files of a set, scored on tiles of its other files and on another set.

    bench/real.py DATA WORK [--device D] [--seconds S] [--width W] [--record]

DATA holds the folders camelyon and ocdc, each with images/NAME.jpg and masks/NAME.png (255: tumor); nothing of it is copied into the project. WORK
gets label maps, studies and runs; a run that is there already is not trained again. With --record the table goes into
bench/results/real/results.json. The last row of each set is what naming every pixel tumor would get. Files of one set come from few slides, perhaps
one: scores on other files of it say less than scores on the other set, which is another organ from another laboratory. Needs numpy and Pillow.
"""
import argparse, csv, json, os, shutil, subprocess, sys

import numpy as np
from PIL import Image

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# neighbours in number may be neighbours on the slide: each split takes a range
SPLITS = {"camelyon": {"train": (10670, 10685), "validation": (10686, 10689), "test": (10690, 10699)}, "ocdc": None}
STUDY = """format: 1
name: {name}
slides: {name}.csv
classes:
  - {{name: Other, color: "#00a000"}}
  - {{name: Tumor, color: "#c80000"}}
tiles: {{mpp: 1.0, size: 256, stride: 128, empty: 1.0}}
model: {{kind: {kind}, width: {width}, depth: 5}}
train: {{epochs: 1000, batch: 8, learning-rate: 0.03, learning-rate-batch: 8, validate-every: 5, seed: 1}}
"""


def split_of(name, file, index, count):
    if SPLITS[name] is None:    # six tenths, one, three
        return "train" if index < 0.6 * count else "validation" if index < 0.7 * count else "test"
    number = int("".join(filter(str.isdigit, file)))
    return next((split for split, (first, last) in SPLITS[name].items() if first <= number <= last), "test")


def prepare(data, work, name):
    """Label maps and the list of slides of a set; the share of tumor in its test files."""
    folder = os.path.join(work, name + "-labels")
    os.makedirs(folder, exist_ok=True)
    files = sorted(os.listdir(os.path.join(data, name, "images")))
    rows, tumor, pixels = [], 0, 0
    for index, file in enumerate(files):
        stem = os.path.splitext(file)[0]
        mask = np.asarray(Image.open(os.path.join(data, name, "masks", stem + ".png")).convert("L")) > 127
        path, split = os.path.join(folder, stem + ".png"), split_of(name, stem, index, len(files))
        Image.fromarray(mask.astype(np.uint8)).save(path)
        rows.append([os.path.abspath(os.path.join(data, name, "images", file)), os.path.abspath(path), "H&E", stem, split, "1"])
        if split == "test":
            tumor += int(mask.sum())
            pixels += mask.size
    with open(os.path.join(work, name + ".csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["slide", "annotation", "stain", "case", "split", "mpp"])
        writer.writerows(rows)
    return {"train": sum(r[4] == "train" for r in rows), "test": sum(r[4] == "test" for r in rows), "tumor": tumor / pixels}


def study_of(a, name, kind):
    path = os.path.join(a.work, f"{name}-{kind}.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(STUDY.format(name=name, kind=kind, width=a.width))
    return path


def run(words, log):
    with open(log, "a", encoding="utf-8") as file:
        if subprocess.run(words, stdout=file, stderr=subprocess.STDOUT).returncode != 0:
            sys.exit(f"bench/real.py: '{' '.join(words)}' failed: see {log}")


def score(a, model, study, out, log):
    run([a.cdunet, "evaluate", study, "--model", model, "--device", a.device, "--json", out, "--no-report"], log)
    with open(out, encoding="utf-8") as file:
        e = json.load(file)
    tumor = next(c for c in e["classes"] if c["class"] == "Tumor")
    return {"tumor": round(tumor["f1"], 3), "interval": [round(v, 3) for v in tumor["f1_interval"]], "macro": round(e["macro_f1"], 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("work")
    parser.add_argument("--device", default="opencl:0")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--cdunet", default=os.path.join(ROOT, "build", "cdunet"))
    parser.add_argument("--record", action="store_true")
    a = parser.parse_args()
    os.makedirs(a.work, exist_ok=True)
    table, facts = [], {name: prepare(a.data, a.work, name) for name in SPLITS}
    for name in SPLITS:
        for kind in ("unet", "cdunet"):
            stem = os.path.join(a.work, f"{name}-{kind}")
            study, model, log = study_of(a, name, kind), os.path.join(stem, "model.safetensors"), stem + ".log"
            if not os.path.exists(model):
                run([a.cdunet, "train", study, "--out", stem, "--device", a.device, "--seconds", str(a.seconds)], log)
            for other in SPLITS:
                row = {"trained": name, "files": facts[name]["train"], "network": kind, "width": a.width, "tested": other,
                       "test_files": facts[other]["test"]}
                row.update(score(a, model, study_of(a, other, "unet"), f"{stem}-on-{other}.json", log))
                table.append(row)
    for name, f in facts.items():
        table.append({"trained": None, "tested": name, "test_files": f["test"], "tumor": round(2 * f["tumor"] / (1 + f["tumor"]), 3),
                      "macro": round(f["tumor"] / (1 + f["tumor"]), 3)})
    print("| trained on | network | tested on | F1 of tumor | 95 % interval over files | macro F1 |\n| --- | --- | --- | --- | --- | --- |")
    for r in table:
        trained = f"{r['trained']}, {r['files']} files" if r["trained"] else "nothing: all is tumor"
        interval = "{:.3f} to {:.3f}".format(*r["interval"]) if "interval" in r else ""
        print(f"| {trained} | {r.get('network', '')} | {r['tested']}, {r['test_files']} files | {r['tumor']:.3f} | {interval} | {r['macro']:.3f} |")
    if a.record:
        path = os.path.join(ROOT, "bench", "results", "real", "results.json")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        git = ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() if shutil.which("git") else "unknown"
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"commit": commit, "seconds": a.seconds, "device": a.device, "rows": table}, file, indent=1)
            file.write("\n")


main()
