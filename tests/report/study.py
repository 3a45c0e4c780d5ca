"""A small study of coloured shapes for the tests of scores and reports: make_study(FOLDER); and how they call the program."""
import struct
import subprocess
import sys
import zlib

try:
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}; the tests' packages are listed in ./dev")
    sys.exit(77)

CLASSES = ["Ground", "Tissue", "Tumor, solid"]
LABELS = [0, 1, 2]
BOUNDARY = 3.0
SLIDES = [  # stain, case, split
    ("HE", "a", "train"), ("HE", "b", "validation"), ("HE", "c", "test"), ("CEA", "c", "test"), ("CEA", "d", "test"),
    ("HE", "e", "test"), ("HE", "f", "test"),
]


def write_png(path, pixels):
    height, width = pixels.shape[:2]
    kind = 2 if pixels.ndim == 3 else 0
    rows = b"".join(b"\0" + pixels[y].tobytes() for y in range(height))

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
                   + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def make_study(folder, epochs=1, classes=tuple(CLASSES)):
    random = np.random.default_rng(5)
    with open(f"{folder}/slides.csv", "w") as table:
        table.write("slide,annotation,stain,case,split,mpp\n")
        for i, (stain, case, split) in enumerate(SLIDES):
            height, width = 150 + 16 * i, 210 - 8 * i
            y, x = np.mgrid[:height, :width]
            field = np.sin(x / (15 + i)) + np.cos(y / (11 + 2 * i)) + 0.02 * x
            truth = np.digitize(field, [0.0, 1.3]).astype(np.uint8)
            color = np.array([[190, 150, 170], [120, 190, 150], [150, 110, 200]])[truth]
            picture = np.clip(color + random.integers(-45, 46, (height, width, 3)), 0, 255).astype(np.uint8)
            truth[(x + y) % 97 < 6] = 255
            write_png(f"{folder}/slide{i}.png", picture)
            write_png(f"{folder}/truth{i}.png", truth)
            table.write(f"slide{i}.png,truth{i}.png,{stain},{case},{split},1.0\n")
        write_png(f"{folder}/bare.png", picture)
        table.write("bare.png,,HE,g,test,1.0\n")
    with open(f"{folder}/study.yaml", "w") as file:
        file.write("format: 1\nslides: slides.csv\nclasses:\n" + "".join(
                       f"  - {{name: \"{name}\", color: \"{color}\"}}\n" for name, color in zip(classes, ("#000000", "#00a000", "#c80000")))
                   + "tiles: {mpp: 1.0, size: 32, stride: 32, empty: 1.0}\n"
                   f"model: {{kind: unet, width: 3, depth: 2}}\ntrain: {{batch: 4, epochs: {epochs}, validate-every: 2, learning-rate: 0.02, learning-rate-batch: 4}}\n"
                   f"evaluate: {{boundary-um: {BOUNDARY}, bootstrap: 2000}}\n")


def run(program, folder, *words, code=0):
    """What the program prints; ends the test where its exit code is another. Code 69 where a device is needed: skips."""
    result = subprocess.run([program, "--quiet", *words], cwd=folder, capture_output=True, text=True)
    if result.returncode == 69:
        print(f"skipped: {result.stderr}")
        sys.exit(77)
    if result.returncode != code:
        sys.exit(f"cdunet {' '.join(words)}: {result.returncode} instead of {code}: {result.stderr}")
    return result.stdout if code == 0 else result.stderr
