#!/usr/bin/env python3
"""All 3x3 layers of the paper's CD-UNET, three passes, through oneDNN per layer (convs), in the layouts that oneDNN chooses for itself.

onednn.c beside this file is built against libdnnl (Debian: libdnnl-dev) and kept in the cache folder. A setting is an algorithm: winograd (where
it has one, else its own choice), direct, auto; or nhwc: its own choice on activations in NHWC.
"""
import hashlib, os, shutil, subprocess, sys

sys.dont_write_bytecode = True
import peer

SETTINGS = ["auto", "winograd", "direct", "nhwc"]
FOLDER = os.path.dirname(os.path.abspath(__file__))


def build():
    source = os.path.join(FOLDER, "onednn.c")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        peer.missing("A C compiler", "apt install gcc")
    with open(source, "rb") as file:
        program = os.path.join(peer.cache_folder(), "onednn-" + hashlib.sha256(file.read()).hexdigest()[:12])
    if os.path.exists(program):
        return program
    made = subprocess.run([compiler, "-O2", "-o", program + ".new", source, "-ldnnl"], capture_output=True, text=True)
    if made.returncode != 0:
        peer.missing("oneDNN 2 for C programs", "apt install libdnnl-dev", next((l for l in made.stderr.splitlines() if "error" in l or "cannot find" in l), ""))
    os.rename(program + ".new", program)
    return program


def shapes(size, width, batch, depth=5):
    """IN:OUT:SIZE:TIMES:BATCH of each 3x3 layer of a CD-UNET."""
    w, times = [width << i for i in range(depth)], {}
    pairs = [((3 if i == 0 else w[i - 1], w[i], i), (w[i], w[i], i)) for i in range(depth)] + [((2 * w[i], w[i], i), (w[i], w[i], i)) for i in range(depth - 1)]
    for pair in pairs:
        for c_in, c_out, stage in pair:
            key = (c_in, c_out, size >> stage)
            times[key] = times.get(key, 0) + 1
    return [f"{i}:{o}:{s}:{n}:{batch}" for (i, o, s), n in times.items()]


def main():
    a = peer.parser(__doc__, ["convs"], SETTINGS).parse_args()
    if a.setting not in SETTINGS:
        sys.exit(f"onednn: there is no setting '{a.setting}'; there are {', '.join(SETTINGS)}")
    environment = dict(os.environ, OMP_NUM_THREADS=str(a.threads))
    child = subprocess.Popen([build(), a.setting] + shapes(a.size, a.width, a.batch), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    version = child.stdout.readline().strip()
    if not version:
        sys.exit("onednn: the program ended early")

    def run():
        child.stdin.write("\n")
        child.stdin.flush()
        forward, data, weight = map(float, child.stdout.readline().split())
        return {"seconds": forward + data + weight, "forward": forward, "data_gradient": data, "weight_gradient": weight}

    about = {"peer": "oneDNN", "version": version, "setting": a.setting, "settings": f"{a.setting}, own layouts{' but NHWC activations' if a.setting == 'nhwc' else ''}, {a.threads} threads"}
    peer.serve_or_measure(a, about, run)
    child.stdin.close()
    child.wait()


main()
