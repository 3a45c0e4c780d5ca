#!/usr/bin/env python3
"""Devices of ranks through `cdunet train`, on a machine whose processor is all there is: `auto` refuses a second rank on it in words and before
any work, shares it by --oversubscribe, takes names and lists; what all ranks get is what they name, and the report is made on rank 0's device.

Usage: devices.py PROGRAM MPIEXEC SCRATCH
"""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "report"))
from study import make_study


def train(program, mpiexec, folder, run, *words, ranks=2):
    line = [mpiexec, "-n", str(ranks), program, "train", "study.yaml", "--out", run, "--threads", "1", "--deadline", "200", "--exact-conv", *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=280)


def expect(right, what, result):
    if not right:
        sys.exit(f"{what}: code {result.returncode}\n{result.stdout}{result.stderr}")


def takes(result):
    """rank: device, from the log."""
    return dict(re.findall(r"rank (\d+) on \S+ takes (\w+:\d+)", result.stderr))


def main():
    program, mpiexec, folder = sys.argv[1:]
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    make_study(folder)
    with open(f"{folder}/study.yaml") as file: # few kernels: it is about devices
        study = file.read().replace("depth: 2", "depth: 1")
    with open(f"{folder}/study.yaml", "w") as file:
        file.write(study)
    listed = subprocess.run([program, "devices", "--no-test"], capture_output=True, text=True).stdout
    if re.search("kind: (discrete|integrated)", listed) or "opencl:0" not in listed:
        print("skipped: this test is for a machine with an OpenCL device and without a GPU")
        sys.exit(77)

    result = train(program, mpiexec, folder, "few", "--device", "auto")
    expect(result.returncode == 69, "two ranks chose one processor", result)
    expect(re.search(r"cdunet: \S+ has 1 device for 2 ranks: \w+:0 \(.*\); rank 1 gets none\. .*--oversubscribe", result.stderr), "the words", result)
    expect(result.stderr.count("gets none") == 1, "more than one rank tells", result)
    expect(not os.path.exists(f"{folder}/few/checkpoints"), "work was begun", result)

    result = train(program, mpiexec, folder, "wrong", "--device", "opencl:0,opencl:77")
    expect(result.returncode == 69 and 'rank 1 on' in result.stderr and '"opencl:77"' in result.stderr, "a device that is not there", result)
    result = train(program, mpiexec, folder, "three", "--device", "opencl:0,opencl:0,opencl:0")
    expect(result.returncode == 2 and "3 devices are named; 2 ranks" in result.stderr, "a list that does not fit", result)

    result = train(program, mpiexec, folder, "shared", "--max-steps", "2", "--oversubscribe")
    expect(result.returncode == 0 and os.path.exists(f"{folder}/shared/complete"), "shared by --oversubscribe", result)
    expect(len(takes(result)) == 2 and len(set(takes(result).values())) == 1, "both have the one", result)
    if "vulkan:0" in listed: # to the end, where validation and the report need a device too
        result = train(program, mpiexec, folder, "mixed", "--device", "opencl:0,vulkan:0")
        expect(result.returncode == 0 and takes(result) == {"0": "opencl:0", "1": "vulkan:0"}, "a list of two", result)
        expect(os.path.exists(f"{folder}/mixed/report.html"), "the report", result)


main()
