#!/usr/bin/env python3
"""Reads the sources and holds the house rules: who may include what, which calls have a checked wrapper, how long a file may be.

Usage: rules.py SOURCE. Exits 1 and names file and line for each breach. The rules are first tried on planted breaches.
"""
import os
import re
import sys

ROOMS = ("include", "core", "backends", "shaders", "dist", "tools", "bench")

# what, pattern on an include's name, pattern on the paths that may
INCLUDES = [
    ("OpenCL stays in backends/opencl", r"^CL/", r"^backends/opencl/"),
    ("Vulkan and shaderc stay in backends/vulkan", r"^(vulkan|shaderc)/", r"^backends/vulkan/"),
    ("MPI stays in dist/mpi.c", r"^mpi\.h$", r"^dist/mpi\.c$"),
    ("OpenSlide and libtiff stay in core/slide", r"^(openslide/.*|openslide\.h|tiff.*\.h)$", r"^core/slide/"),
    ("libcyaml stays in core/study", r"^(cyaml/.*|yaml\.h)$", r"^core/study/"),
    ("core knows backends by backend.h alone", r"^backends/(?!backend\.h$)", r"^(backends|tests)/"),
    ("core knows groups of processes by collective.h alone", r"^dist/(?!collective\.h$)", r"^(dist|tests)/"),
    ("nothing includes the tools but the tools and the bench", r"^tools/", r"^(tools|bench|tests)/"),
    ("public headers include public headers and the C library only", r"^(core|backends|shaders|dist|tools|tests)/", r"^(?!include/)"),
]
# arrows run down only: room -> rooms of this project it may include
DOWN = {
    "core/base": ("core/base", "cdunet"),
    "core/graph": ("core/base", "core/graph", "backends", "shaders", "cdunet"),
    "core/ops": ("core/base", "core/graph", "core/ops", "backends", "cdunet"),
    "core/model": ("core/base", "core/graph", "core/ops", "core/model", "backends", "cdunet"),
    "core/slide": ("core/base", "core/slide", "cdunet"),
    "core/study": ("core/base", "core/slide", "core/study", "cdunet"),
    "core/report": ("core/base", "core/model", "core/slide", "core/study", "core/train", "core/report", "cdunet"),
    "backends": ("core/base", "backends", "shaders", "cdunet"),
    "dist": ("core/base", "dist", "cdunet"),
    "shaders": ("core/base", "shaders", "cdunet"),
}
# call, where it may stand, what to use
CALLS = [
    (r"\b(malloc|calloc|realloc|strdup)\s*\(", r"^(core/base/memory\.c|tests/|tools/|bench/)", "cdu_allocate, cdu_grow, cdu_copy_text"),
    (r"\b(exit|_exit|abort|quick_exit)\s*\(", r"^(tools/|tests/|bench/|dist/(solo|mpi)\.c)", "return a cdu_status"),
    (r"\b(printf|puts|putchar|perror)\s*\(", r"^(tools/|tests/|bench/)", "cdu_log"),
    (r"\b(rand|srand|random|drand48)\s*\(", r"^tests/", "core/base/random.h"),
    (r"\b(strcpy|strcat|gets|alloca)\s*\(", r"^$", "snprintf, memcpy"),
]
LINES_LIMIT = 1100
ALLOWED = "house: allowed"  # on a line, with a reason, lets it pass


def code_only(text):
    """The text with comments and string literals blanked, its lines kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def room_of(path):
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == "core" else parts[0]


def breaches(path, text):
    found = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        include = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if not include or ALLOWED in line:
            continue
        name = include.group(1)
        for what, pattern, allowed in INCLUDES:
            if re.search(pattern, name) and not re.search(allowed, path):
                found.append((number, f"includes {name}: {what}"))
        room = room_of(path)
        ours = re.match(r"(core/[a-z]+|backends|shaders|dist|tools|cdunet)/", name)
        if room in DOWN and ours and ours.group(1) not in DOWN[room]:
            found.append((number, f"includes {name}: {room} may use {', '.join(DOWN[room])}"))
    for number, line in enumerate(code_only(text).split("\n"), 1):
        if ALLOWED in lines[number - 1]:
            continue
        for pattern, allowed, instead in CALLS:
            call = re.search(r"(?<!->)(?<!\.)" + pattern, line)
            if call and not re.search(allowed, path):
                found.append((number, f"calls {call.group(1)}: use {instead}"))
    if len(lines) > LINES_LIMIT:
        found.append((len(lines), f"{len(lines)} lines: nobody holds more than about a thousand in the head; split it"))
    return found


def try_planted():
    planted = [
        ("core/ops/x.c", "#include <CL/cl.h>\n"), ("tools/x.c", "#include <vulkan/vulkan.h>\n"), ("core/graph/x.c", "#include <mpi.h>\n"),
        ("dist/solo.c", "#include <mpi.h>\n"), ("tools/cmd_x.c", "#include <openslide/openslide.h>\n"),
        ("core/study/x.c", "#include <tiffio.h>\n"), ("core/ops/x.c", '#include "backends/opencl/opencl.h"\n'),
        ("core/base/x.c", '#include "core/graph/graph.h"\n'), ("core/slide/x.c", '#include "cdunet/study.h"\n#include "core/study/labels.h"\n'),
        ("include/cdunet/x.h", '#include "core/base/file.h"\n'), ("core/model/x.c", "void f(void) { exit(1); }\n"),
        ("core/graph/x.c", 'void f(void) { printf("x"); }\n'), ("backends/null/x.c", "char *p = malloc(3);\n"),
        ("core/train/x.c", "int x = rand();\n"), ("core/train/x.c", "\n" * 2000),
    ]
    missed = [(path, text) for path, text in planted if not breaches(path, text)]
    fine = [("backends/opencl/x.c", "#include <CL/cl.h>\n"), ("core/ops/x.c", '#include "backends/backend.h"\n/* exit( */\n'),
            ("core/graph/x.c", 'const char *x = "malloc(";\nint snprintf(void);\n')]
    wrong = [(path, text) for path, text in fine if breaches(path, text)]
    for path, text in missed:
        print(f"the rules miss a planted breach in {path}: {text.strip()[:60]}")
    for path, text in wrong:
        print(f"the rules see a breach where none is, in {path}: {text.strip()[:60]}")
    return not missed and not wrong


def main():
    root = sys.argv[1]
    ok = try_planted()
    files = 0
    for room in ROOMS + ("tests",):
        for folder, _, names in os.walk(os.path.join(root, room)):
            for name in sorted(names):
                if not name.endswith((".c", ".h", ".k")):
                    continue
                full = os.path.join(folder, name)
                path = os.path.relpath(full, root)
                with open(full, encoding="utf-8") as file:
                    text = file.read()
                files += 1
                found = breaches(path, text) if room != "tests" else []
                for number, words in found:
                    ok = False
                    print(f"{path}:{number}: {words}")
    print(f"{files} files read")
    sys.exit(0 if ok and files > 20 else 1)


main()
