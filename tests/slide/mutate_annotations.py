#!/usr/bin/env python3
"""Gives `cdunet annotations` mutated annotation files: each must end with 0 or 65, within 10 s and 1 GiB, with one line of error where it is refused.
Large GeoJSON files, which as trees in memory would take forty times their text, must do so with 320 MiB.

Usage: mutate_annotations.py CDUNET COUNT FOLDER... Always the same files. Exits 1 and keeps each file that fails under /tmp.
"""
import gzip
import os
import random
import re
import resource
import subprocess
import sys
import tempfile

LIMIT = 1 << 30
NUMBERS = [b"1e308", b"-1e309", b"NaN", b"Infinity", b"0", b"-0.0", b"2147483648", b"99999999999999999999", b"1e-320", b"", b"0x7f", b"1,5"]


def mutate(text, generator):
    """One to four changes: bytes flipped, pieces taken out, doubled or moved, numbers replaced, the end cut off."""
    data = bytearray(text)
    for _ in range(generator.randint(1, 4)):
        if not data:
            break
        at = generator.randrange(len(data))
        length = generator.choice([1, 2, 8, 64, 1000])
        kind = generator.randrange(6)
        if kind == 0:
            data[at] ^= 1 << generator.randrange(8)
        elif kind == 1:
            del data[at:at + length]
        elif kind == 2:
            data[at:at] = data[at:at + length] * generator.choice([1, 2, 50])
        elif kind == 3:
            to = generator.randrange(len(data))
            data[to:to] = data[at:at + length]
        elif kind == 4:
            number = re.compile(rb"-?\d+(\.\d+)?").search(data, at)
            if number:
                data[number.start():number.end()] = generator.choice(NUMBERS)
        elif generator.random() < 0.3:
            del data[at:]
    return bytes(data)


def large_files(size=12 << 20):
    """Name, text and expected exit code of GeoJSON that is small on disk and large as a tree."""
    feature = '{"type":"Feature","properties":{},"geometry":{"type":"MultiPolygon","coordinates":[%s]}%s}'
    triangle = "[[[0,0],[1,0],[0,1]]]"
    yield "small polygons", "[" + feature % (",".join([triangle] * (size // 22)), "") + "]", 0
    yield "a long outline", "[" + feature % ("[[[9,9]" + ",[0,0]" * (size // 6) + ",[0,9]]]", "") + "]", 0
    yield "empty features", "[" + ",".join([feature % ("", "")] * (size // 95)) + "]", 0
    yield "nothing but brackets", "[" + feature % (triangle, ',"x":[[]' + ",[]" * (size // 3) + "]") + "]", 65
    yield "classes without end", "[" + ",".join('{"type":"Feature","properties":{"name":"%d"},"geometry":{"type":"Point"}}' % i for i in range(size // 80)) + "]", 0


def limit(most=LIMIT):
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def fault_of(command, most=LIMIT):
    """Why a run is not as it must be, or None; and its exit code."""
    try:
        result = subprocess.run(command, capture_output=True, timeout=10, preexec_fn=lambda: limit(most))
    except subprocess.TimeoutExpired:
        return "runs for more than 10 s", None
    if result.returncode not in (0, 65):
        return f"ends with {result.returncode}: {result.stderr[-200:]!r}", result.returncode
    if result.returncode == 65 and result.stderr.count(b"\n") != 1:
        return f"says more or less than one line: {result.stderr[-300:]!r}", 65
    return None, result.returncode


def main():
    cdunet, count, folders = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    seeds = []
    for place in folders:
        for folder, _, names in sorted(os.walk(place)):
            for name in sorted(names):
                if name.endswith((".xml", "json", ".gz")):
                    with open(os.path.join(folder, name), "rb") as file:
                        text = file.read()
                    seeds.append(text)
                    if name.endswith(".gz"):
                        seeds.append(gzip.decompress(text)) # what is inside, and the packing itself
    generator = random.Random(1)
    faults, ends = 0, {0: 0, 65: 0}
    # what must be found: a crash, a hang is a matter of the time-out, too much memory
    if fault_of(["sh", "-c", "kill -SEGV $$"])[0] is None or fault_of([sys.executable, "-c", "bytearray(2 << 30)"])[0] is None:
        print("the check is blind")
        sys.exit(1)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "mutated")
        for i in range(count):
            text = mutate(seeds[i % len(seeds)], generator)
            with open(path, "wb") as file:
                file.write(text)
            fault, code = fault_of([cdunet, "--quiet", "annotations", path, "--json"])
            if fault is None:
                ends[code] += 1
                continue
            faults += 1
            kept = f"/tmp/cdunet-mutated-{i}"
            with open(kept, "wb") as file:
                file.write(text)
            print(f"{kept}: {fault}")
        for name, text, expected in large_files():
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            fault, code = fault_of([cdunet, "--quiet", "annotations", path, "--json"], 320 << 20)
            if fault or code != expected:
                faults += 1
                print(f"{name}, {len(text) >> 20} MiB: {fault or f'ends with {code}, not {expected}'}")
    print(f"{count} mutated files of {len(seeds)} seeds: {ends[0]} read, {ends[65]} refused, {faults} at fault")
    sys.exit(1 if faults or not ends[0] or not ends[65] else 0)


main()
