#!/usr/bin/env python3
"""Compiles every kernel with Intel's compiler (ocloc) for devices that are not here; fails where one does not compile or goes to memory.

Usage: intel.py KERNEL_CHECK FOLDER. Exits 77 where ocloc is not installed. Gen9 (skl) has no zebin form: there only the success of
the compilation is known.
"""
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

DEVICES = ("skl", "tgllp", "dg2")


def compile_one(job):
    device, path = job
    with tempfile.TemporaryDirectory() as out:
        form = [] if device == "skl" else ["--format", "zebin"]
        run = subprocess.run(["ocloc", "compile", "-file", path, "-device", device, "-out_dir", out, "-output", "k",
                              "-options", "-cl-std=CL1.2", *form], capture_output=True, text=True)
        name = os.path.basename(path)
        if run.returncode:
            return device, name, False, "FAILED " + run.stdout[-600:]
        if not form:
            return device, name, True, "compiled"
        with open(glob.glob(out + "/k*.bin")[0], "rb") as file:
            blob = file.read()
        info = blob[blob.find(b"version:"):].split(b"\0")[0].decode("latin1")
        simd, registers = (re.search(word + r":\s+(\d+)", info) for word in ("simd_size", "grf_count"))
        memory = re.findall(r"usage:\s+(private_space|single_space|spill_fill_space)\s+size:\s+(\d+)", info)
        words = f"simd {simd and simd[1]}, registers {registers and registers[1]}, memory {memory or 'none'}"
        return device, name, not memory, words


def main():
    program, folder = sys.argv[1:3]
    if not shutil.which("ocloc"):
        print("skipped: ocloc (intel-opencl-icd) is not installed")
        sys.exit(77)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([program, "write", folder, "Intel", "planted"], check=True, stdout=subprocess.DEVNULL)
    jobs = [(device, path) for device in DEVICES for path in sorted(glob.glob(folder + "/*.cl"))]
    bad = planted = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for device, name, fits, words in pool.map(compile_one, jobs):
            print(f"{device:6} {name:40} {words}")
            if "planted" in name:
                planted += not fits
            else:
                bad += not fits
    if planted != len(DEVICES) - 1:
        print("the planted kernel, which must go to memory, was not found: this check sees nothing")
    print(f"{len(jobs)} compilations, {bad} that do not compile or fit")
    sys.exit(1 if bad or planted != len(DEVICES) - 1 else 0)


main()
