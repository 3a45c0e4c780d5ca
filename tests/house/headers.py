#!/usr/bin/env python3
"""Compiles every header alone: public ones as C11 and as C++, strictly; the others as C11. Usage: headers.py SOURCE CC [CXX]"""
import concurrent.futures
import glob
import os
import subprocess
import sys

root, cc = sys.argv[1:3]
cxx = sys.argv[3] if len(sys.argv) > 3 and "NOTFOUND" not in sys.argv[3] else None
FLAGS = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", os.path.join(root, "include"), "-x"]


def compile_alone(job):
    compiler, flags, path = job
    run = subprocess.run([compiler, *FLAGS, *flags, "-"], input=f'#include "{path}"\nint cdu_header_alone;\n', text=True,
                         capture_output=True, cwd=root)
    return f"{path} does not compile alone with {compiler} {' '.join(flags)}:\n{run.stderr}" if run.returncode else None


jobs = []
for path in sorted(glob.glob(os.path.join(root, "include/cdunet/*.h"))):
    name = "cdunet/" + os.path.basename(path)
    jobs.append((cc, ["c", "-std=c11", "-pedantic"], name))
    if cxx:
        jobs.append((cxx, ["c++", "-std=c++11", "-pedantic"], name))
public = len(jobs)
for room in ("core/*", "backends", "dist", "tools", "tools/phantom"):
    for path in sorted(glob.glob(os.path.join(root, room, "*.h"))):
        jobs.append((cc, ["c", "-std=gnu11", "-I", root], os.path.relpath(path, root)))
with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
    problems = [p for p in pool.map(compile_alone, jobs) if p]
planted = compile_alone((cc, ["c", "-std=c11"], "cdunet/there-is-no-such-header.h"))
print("\n".join(problems))
print(f"{len(jobs)} compilations, {public} of them of public headers" + ("" if cxx else "; no C++ compiler here"))
sys.exit(1 if problems or not planted or public < 5 else 0)
