#!/usr/bin/env python3
"""A run's report: well-formed HTML of one file without script or outside links, numbers as in log.csv and the evaluation, pictures inside;
curves as CSV and SVG with the same numbers; event files by a reader of their own format; damaged files and foreign runs refused in words.

Usage: page.py PROGRAM SCRATCH
"""
import base64
import csv
import hashlib
import json
import os
import re
import shutil
import struct
import sys
import xml.etree.ElementTree
from html.parser import HTMLParser

from study import CLASSES, make_study, run as run_program

VOID = {"meta", "img", "br", "link", "input", "hr"}
checked = 0


def expect(right, words):
    global checked
    checked += 1
    if not right:
        sys.exit(words)


class Page(HTMLParser):
    """Holds the nesting, collects the text of cells and what an <img> shows."""

    def __init__(self, text, path):
        super().__init__()
        self.path, self.open, self.rows, self.images, self.svgs, self.cell, self.ids = path, [], [], [], 0, None, set()
        expect(text.startswith("<!DOCTYPE html>"), f"{path}: no doctype")
        self.feed(text)
        self.close()
        expect(not self.open, f"{path}: never closed: {self.open}")

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        expect(len(values) == len(attrs), f"{self.path}: an attribute stands twice in <{tag}>")
        expect(tag not in ("script", "iframe", "object", "link"), f"{self.path}: there is a <{tag}>")
        for name in ("src", "href"):
            expect(values.get(name, "data:").startswith("data:"), f"{self.path}: <{tag}> needs {values.get(name)}")
        if tag == "img":
            expect(values["src"].startswith("data:image/png;base64,"), f"{self.path}: an image is no PNG")
            self.images.append(base64.b64decode(values["src"].split(",", 1)[1], validate=True))
        self.svgs += tag == "svg"
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data

    def handle_endtag(self, tag):
        expect(self.open and self.open[-1] == tag, f"{self.path}: </{tag}> closes {self.open[-3:]}")
        self.open.pop()
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell)
            self.cell = None


def read_page(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    # data URIs are letters: what looks like a link in them is none
    expect(not re.search(r"https?:|url\(|@import", re.sub(r"base64,[^\"]*", "", text)), f"{path}: there is a link to outside")
    expect('name="viewport"' in text, f"{path}: no viewport for phones")
    return text, Page(text, path)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """Number and value of each protobuf field."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            size = 8 if key & 7 == 1 else 4
            value, at = struct.unpack("<d" if size == 8 else "<f", data[at:at + size])[0], at + size
        yield key >> 3, value


def read_events(path):
    """(tag, step) to value, of a file whose every checksum holds."""
    with open(path, "rb") as file:
        data = file.read()
    values, at, last_time = {}, 0, 0
    while at < len(data):
        length = struct.unpack("<Q", data[at:at + 8])[0]
        for part, crc_at in ((data[at:at + 8], at + 8), (data[at + 12:at + 12 + length], at + 12 + length)):
            crc = crc32c(part)
            masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
            expect(struct.unpack("<I", data[crc_at:crc_at + 4])[0] == masked, f"{path}: wrong checksum at {crc_at}")
        event = dict(fields(data[at + 12:at + 12 + length]))
        expect(at or event[3] == b"brain.Event:2", f"{path}: the first record has no version")
        expect(event[1] >= last_time, f"{path}: time goes back")
        last_time = event[1]
        for number, value in fields(event.get(5, b"")):
            scalar = dict(fields(value))
            values[scalar[1].decode(), event[2]] = scalar[2]
        at += 16 + length
    return values


def read_log(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [r for r in rows if r["loss"]], [r for r in rows if not r["loss"]]


def close(a, b, limit=1e-6):
    return abs(float(a) - float(b)) <= limit * max(1, abs(float(b)))


def check_curves(folder, steps, validations):
    with open(f"{folder}/curves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    scored, plain = [r for r in rows if r["macro F1"]], [r for r in rows if r["mean loss"]]
    expect(len(scored) == len(validations), f"{folder}/curves.csv: {len(scored)} validations of {len(validations)}")
    for row, logged in zip(scored, validations):
        expect(row["step"] == logged["step"], "a validation's step differs from the log's")
        for name in ["macro F1"] + [f"F1 {c}" for c in CLASSES]:
            expect(row[name] == logged[name], f"curves.csv: {name}: {row[name]}, the log has {logged[name]}")
    epochs = sorted({int(s["epoch"]) for s in steps})
    expect([float(r["epoch"]) for r in plain] == epochs, "curves.csv has other epochs")
    for row in plain:
        losses = [float(s["loss"]) for s in steps if s["epoch"] == row["epoch"]]
        expect(close(row["mean loss"], sum(losses) / len(losses)), f"curves.csv: mean loss of epoch {row['epoch']}")
    for name in ("curves-f1.svg", "curves-loss.svg"):
        root = xml.etree.ElementTree.parse(f"{folder}/{name}").getroot()
        expect(root.tag == "{http://www.w3.org/2000/svg}svg", f"{name} is no SVG")
    paths = root.findall("{http://www.w3.org/2000/svg}path")
    expect(len(paths) == 2 and paths[1].get("d").count("L") == min(len(steps), 240) - 1, "the loss curve lacks points")


def check_events(folder, steps, validations):
    values = read_events(f"{folder}/tensorboard/events.out.tfevents.cdunet")
    expect(len(values) == 3 * len(steps) + sum(1 for v in validations for k in v if "F1" in k and v[k]), "the event file has another number of scalars")
    for s in steps:
        expect(close(values["training/loss", int(s["step"])], s["loss"]), f"event file: loss of step {s['step']}")
    for v in validations:
        expect(close(values["validation F1/macro", int(v["step"])], v["macro F1"]), "event file: macro F1")
        for c in CLASSES:
            if v[f"F1 {c}"]:
                expect(close(values[f"validation F1/{c}", int(v["step"])], v[f"F1 {c}"]), f"event file: F1 of {c}")


def check_page(folder, steps, validations):
    text, page = read_page(f"{folder}/report.html")
    shown = [row for row in page.rows if row and row[0] in {v["step"] for v in validations} and len(row) == 3 + len(CLASSES)]
    expect(len(shown) == len(validations), f"the page shows {len(shown)} validations of {len(validations)}")
    for row, v in zip(shown, validations):
        for cell, name in zip(row[2:], ["macro F1"] + [f"F1 {c}" for c in CLASSES]):
            expect(cell == (f"{float(v[name]):.3f}" if v[name] else "\N{EN DASH}"), f"the page has {cell} for {name}, the log {v[name]}")
    expect(f"<b>{float(steps[-1]['loss']):.4f}</b>" in text, "the page lacks the last loss")
    pictures = 0
    for split in ("validation", "test"):
        with open(f"{folder}/evaluation-{split}.json") as file:
            scores = json.load(file)
        for c, name in enumerate(CLASSES):
            entry = scores["classes"][c]
            wanted = [name] + [f"{entry[k]:.3f}" for k in ("precision", "recall", "f1")]
            row = [r for r in page.rows if r[:4] == wanted and len(r) == 8]
            expect(row, f"the page lacks the {split} scores {wanted}")
            if entry["f1_interval"]:
                low, high = entry["f1_interval"]
                expect(any(r[4] == f"{low:.3f} to {high:.3f}" for r in row), f"the page lacks the interval of {name}")
        for part in scores["by_slide"] + scores["by_stain"] + scores["by_case"]:
            name = os.path.basename(part.get("slide") or part.get("case") or part["stain"])
            macro = part["macro"]["f1"]
            expect(any(r[0] == name and f"{macro:.3f}" in r for r in page.rows), f"the page lacks {split}, {name}: {macro:.3f}")
        for tile in scores["tiles"]:
            for name in tile["files"]:
                with open(f"{folder}/{name}", "rb") as file:
                    expect(file.read() in page.images, f"{name} is not in the page")
                pictures += 1
    expect(pictures >= 12 and len(page.images) == pictures, f"{len(page.images)} pictures in the page, {pictures} in the folder")
    expect(page.svgs == 2, f"{page.svgs} charts in the page")
    expect("base64" in text and "bare.png" in text and "5 slides of 4 cases" in text, "the page lacks something")


def digest(folder):
    names = ["report.html", "curves.csv", "curves-f1.svg", "curves-loss.svg", "tensorboard/events.out.tfevents.cdunet"]
    return [hashlib.sha256(open(f"{folder}/{name}", "rb").read()).hexdigest() for name in names]


def check_faults(run, folder):
    """Each damage on a copy of the run: exit code 65 and words; the old page stays."""
    faults = [
        ("log.csv", lambda t: t.replace("\n3,", "\n3,x", 1).replace("\n3,x", "\n3;", 1), ["broken/log.csv:4:", "fields"]),
        ("log.csv", lambda t: t[:40] + "\0" + t[41:], ["broken/log.csv:1:"]),
        ("log.csv", lambda t: "", ["broken/log.csv:1:", "column 'step'"]),
        ("log.csv", lambda t: t.replace("F1 Tissue", "F1 Muscle"), ["classes"]),
        ("run.json", lambda t: t[:len(t) // 2], ["broken/run.json:", "damaged"]),
        ("run.json", lambda t: t.replace('"parameters"', '"parameter"'), ["broken/run.json", "'parameters'"]),
        ("evaluation-test.json", lambda t: t.replace('"f1":', '"f2":', 1), ["broken/evaluation-test.json"]),
        ("evaluation-test.json", lambda t: "[" * 100000, ["broken/evaluation-test.json"]),
    ]
    for name, damage, words in faults:
        shutil.rmtree(f"{folder}/broken", ignore_errors=True)
        shutil.copytree(f"{folder}/run", f"{folder}/broken")
        before = digest(f"{folder}/broken")
        with open(f"{folder}/broken/{name}") as file:
            text = file.read()
        expect(damage(text) != text, f"the damage to {name} changes nothing")
        with open(f"{folder}/broken/{name}", "w") as file:
            file.write(damage(text))
        line = run("report", "broken", code=65)
        expect(line.count("\n") == 1 and all(w in line for w in words), f"{name}: {line}")
        expect(digest(f"{folder}/broken") == before, f"{name}: the report was written nevertheless")
    expect("there is no such folder" in run("report", "nowhere", code=65), "a folder that is not there")
    os.makedirs(f"{folder}/empty")
    expect("no run lies here" in run("report", "empty", code=65), "a folder without a run")
    # a run that goes on: half a row; pictures that were deleted
    with open(f"{folder}/run/log.csv") as file:
        text = file.read()
    shutil.rmtree(f"{folder}/broken")
    shutil.copytree(f"{folder}/run", f"{folder}/broken")
    shutil.rmtree(f"{folder}/broken/evaluation-test-tiles")
    with open(f"{folder}/broken/log.csv", "w") as file:
        file.write(text[:text.index("\n5,") + 7])
    run("report", "broken")
    text, page = read_page(f"{folder}/broken/report.html")
    expect("has not ended" in text and "best-1-slide.png is missing" in text, "a run that goes on")


def check_compare(run, folder, device):
    """Two runs in one page; runs of other classes, label maps and a run alone are refused."""
    run("train", "study.yaml", "--out", "second", "--seed", "5", "--epochs", "4", *device)
    run("compare", "run", "second", "--out", "both.html")
    text, page = read_page(f"{folder}/both.html")
    expect(page.svgs == 2 + len(CLASSES) and "run and second" in text, f"{page.svgs} charts of two runs")
    expect(["train: seed", "1", "5"] in page.rows and ["train: epochs", "6", "4"] in page.rows, "settings that differ are not shown")
    expect(not any(row[:1] == ["train: batch"] for row in page.rows), "a setting that is the same is shown")
    for name in ("run", "second"):
        with open(f"{folder}/{name}/evaluation-validation.json") as file:
            scores = json.load(file)
        wanted = [f"{c['f1']:.3f}" for c in scores["classes"]] + [f"{scores['macro']['f1']:.3f}"]
        expect(any(row[0] == name and row[1:1 + len(wanted)] == wanted for row in page.rows), f"the page lacks the scores of {name}: {wanted}")
        _, validations = read_log(f"{folder}/{name}/log.csv")
        with open(f"{folder}/both.csv", newline="") as file:
            rows = [r for r in csv.DictReader(file) if r["run"] == name and r["macro F1"]]
        expect([r["macro F1"] for r in rows] == [v["macro F1"] for v in validations], f"both.csv has other validations of {name}")
    paths = xml.etree.ElementTree.parse(f"{folder}/both-f1.svg").getroot().findall("{http://www.w3.org/2000/svg}path")
    dotted = [p for p in paths if p.get("stroke-dasharray") and p.get("d")]
    expect(len(dotted) == len(CLASSES), f"{len(dotted)} dotted lines: the first run's classes are expected so")
    os.makedirs(f"{folder}/others")
    make_study(f"{folder}/others", classes=("Ground", "Muscle", "Tumor, solid"))
    run("train", "others/study.yaml", "--out", "foreign", *device)
    line = run("compare", "run", "foreign", "--out", "never.html", code=65)
    expect("Tissue" in line and "Muscle" in line and line.count("\n") == 1, f"other classes: {line}")
    expect(not os.path.exists(f"{folder}/never.html"), "runs of other classes were compared")
    expect("'cdunet agree'" in run("compare", "a.tif", "b.tif", code=2), "label maps are not sent to agree")
    expect("'cdunet report'" in run("compare", "run", code=2), "one run is compared with nothing")
    shutil.copytree(f"{folder}/run", f"{folder}/others/run")
    run("compare", "run", "others/run", "--out", "same.html")
    expect("others/run" in read_page(f"{folder}/same.html")[0], "two runs of one name are not told apart")


def check_unreadable(run, folder, device):
    """Validation slides that cannot be read: the training ends well, and the page names them."""
    os.makedirs(f"{folder}/cut")
    make_study(f"{folder}/cut")
    with open(f"{folder}/cut/slides.csv") as file:
        table = file.read()
    with open(f"{folder}/cut/slides.csv", "w") as file:
        file.write(table.replace("CEA,d,test", "CEA,d,validation"))
    for number, words in ((4, "Not scored, could not be read: slide4.png"), (1, "Training")):
        with open(f"{folder}/cut/slide{number}.png", "r+b") as file:
            file.truncate(2000)
        run("train", "cut/study.yaml", "--out", f"cut-{number}", *device)
        expect(words in read_page(f"{folder}/cut-{number}/report.html")[0], f"the page of a study with slide {number} cut lacks '{words}'")
    expect(not os.path.exists(f"{folder}/cut-1/evaluation-validation.json"), "scores of no slide were written")
    line = run("evaluate", "cut/study.yaml", "--model", "cut-4/model.safetensors", "--split", "validation", *device, code=65)
    expect("slide1.png" in line, f"evaluate takes a slide that cannot be read: {line}")


def main():
    program, folder = os.path.abspath(sys.argv[1]), sys.argv[2]
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    make_study(folder, epochs=6)

    def run(*words, code=0):
        return run_program(program, folder, *words, code=code)
    device = ("--device", "opencl:0")
    expect("run/report.html" in run("train", "study.yaml", "--out", "run", *device), "train tells of no report")
    before = digest(f"{folder}/run")
    expect("run/report.html" in run("evaluate", "study.yaml", "--model", "run/model.safetensors", *device), "evaluate tells of no report")
    after = digest(f"{folder}/run")
    expect(after[0] != before[0] and after[1:] == before[1:], "evaluate leaves the page as it was, or changes the curves")
    run("evaluate", "study.yaml", "--model", "run/model.safetensors", "--no-report", *device)
    run("report", "run")
    expect(digest(f"{folder}/run") == after, "the same run gives another page")
    steps, validations = read_log(f"{folder}/run/log.csv")
    expect(len(steps) == 54 and len(validations) == 3, f"{len(steps)} steps and {len(validations)} validations were logged")
    check_page(f"{folder}/run", steps, validations)
    check_curves(f"{folder}/run", steps, validations)
    check_events(f"{folder}/run", steps, validations)
    check_faults(run, folder)
    check_compare(run, folder, device)
    check_unreadable(run, folder, device)
    print(f"{checked} checks")


main()
