#!/usr/bin/env python3
"""The table of targets, filled with ratios measured in one run on this machine: cdunet on a device against the best of its peers.

Every program that takes part runs beside the others as a server (`cdunet-bench serve`, bench/peers) and does one piece of work at a time, in turn,
so that what else goes on hits all alike. Ratios are those of medians; the range behind them is that of single rounds. Of a peer's settings the
best is found first, each by itself, and then measured in turn with us. "other work" is what else took the processors while a row was measured.
"""
import argparse, json, os, signal, statistics, subprocess, sys, threading, time

sys.dont_write_bytecode = True
FOLDER = os.path.dirname(os.path.abspath(__file__))
DEBIAN = "/usr/bin/python3"


class Gone(Exception):
    """A program that cannot take part, with the one line that says why."""


class Server:
    def __init__(self, name, words, environment=None, patience=300):
        self.name, self.times, self.answers = name, [], []
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ, **(environment or {})))
        self.errors = []
        self.reader = threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True)
        self.reader.start()
        self.about = self.read(patience)
        self.warmed = False

    def read(self, patience):
        timer = threading.Timer(patience, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if line:
            return json.loads(line)
        self.process.wait()
        self.reader.join(5)
        if self.process.returncode == -signal.SIGKILL:
            raise Gone(f"{self.name}: not ready within {patience:.0f} s")
        raise Gone(self.errors[-1].strip() if self.errors else f"{self.name}: ended with code {self.process.returncode}")

    def run(self):
        time.sleep(0.03)  # other programs' threads may still spin
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        answer = self.read(300)
        self.answers.append(answer)
        self.times.append(answer["seconds"])

    def median(self, key="seconds"):
        return statistics.median(a[key] for a in self.answers)

    def close(self):
        """Peak of the process's memory in bytes, if it tells."""
        if self.process.poll() is not None:
            return None
        try:
            self.process.stdin.close()
            line = self.process.stdout.readline()
            self.process.wait(20)
            return json.loads(line)["peak_bytes"] if line else None
        except (OSError, ValueError, subprocess.TimeoutExpired):
            self.process.kill()
            return None


def in_turn(servers, rounds):
    for s in servers:
        s.run()  # warm
        s.times.clear()
        s.answers.clear()
    for r in range(rounds):
        for s in servers if r % 2 == 0 else reversed(servers):
            s.run()


def busy_seconds():
    """Of all processors, by whatever ran."""
    with open("/proc/stat", encoding="utf-8") as file:
        fields = file.readline().split()
    return (int(fields[1]) + int(fields[2]) + int(fields[3])) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    t = os.times()  # children count once they have ended
    return t.user + t.system + t.children_user + t.children_system


class Bench:
    def __init__(self, a):
        self.a, self.rows, self.notes, self.step_peaks = a, [], [], {}
        self.wide = "avx512f" in open("/proc/cpuinfo", encoding="utf-8").read()

    def ours(self, what, device=None, **settings):
        words = [os.path.join(self.a.build, "cdunet-bench"), "serve", what, "--device", device or self.a.device]
        for key, value in settings.items():
            words += [f"--{key}", str(value)]
        return Server("cdunet", words)

    def peer(self, python, script, what, setting, **settings):
        words = [python, os.path.join(FOLDER, "peers", script), what, "--serve", "--setting", setting]
        for key, value in settings.items():
            words += [f"--{key}", str(value)]
        return Server(f"{script} {setting}", words)

    def pytorch(self, what):
        forms = ["nhwc:compile", "nhwc:eager", "nchw:eager"] if what == "step" else ["nhwc:compile", "nhwc:frozen", "nchw:frozen"]
        if self.a.quick:
            forms = forms[1:2]
        return [(self.a.python, "pytorch.py", what, f) for f in forms] + [(DEBIAN, "pytorch.py", what, f) for f in (forms[-1:] if not self.a.quick else [])]

    def best(self, candidates, **settings):
        """The candidate that is fastest by itself."""
        found, self.peaks = [], {}
        for candidate in candidates:
            try:
                server = self.peer(*candidate, **settings)
                for _ in range(1 if self.a.quick else 2):
                    server.run()
                peak = server.close()
                found.append((min(server.times), candidate))
                self.peaks[f"{server.about['peer']} {server.about['version']} {candidate[3]}"] = peak
                self.say(f"    {server.about['peer']} {server.about['version']} {candidate[3]}: {min(server.times):.4f} s")
            except Gone as why:
                self.note(str(why))
        if not found:
            raise Gone("none of the peers could be measured")
        return min(found)[1]

    def say(self, words):
        print(words, file=sys.stderr, flush=True)

    def note(self, words):
        self.say("    " + words)
        if words not in self.notes:
            self.notes.append(words)

    def add(self, figure, ratio, least, aim, unit="times", low=None, high=None, best=None, detail="", smaller=False):
        reached = None if ratio is None else (ratio <= least if smaller else ratio >= least)
        self.rows.append(dict(figure=figure, ratio=ratio, best=best, low=low, high=high, target=least, aim=aim, smaller=smaller, unit=unit, reached=reached, detail=detail))
        self.say(f"  {figure}: {'-' if ratio is None else f'{ratio:.2f}'}")

    def versus(self, figure, least, aim, ours, theirs, rounds):
        try:
            in_turn([ours, theirs], rounds)
        finally:
            mine, other = ours.close(), theirs.close()
        ratios = [b / a for a, b in zip(ours.times, theirs.times)]
        about = theirs.about
        self.add(figure, theirs.median() / ours.median(), least, aim, low=min(ratios), high=max(ratios), best=min(theirs.times) / min(ours.times),
                 detail=f"cdunet {words_of(ours.times)}; {about['peer']} {about['version']} {about.get('setting', '')} {words_of(theirs.times)}")
        return mine, other

    # ---- the rows ----

    def pick(self, values):
        return values[1 if self.wide else 0]

    def step(self):
        best = self.best(self.pytorch("step"), size=512)
        self.step_peaks = self.peaks
        ours, theirs = self.ours("step", size=512), self.peer(*best, size=512)
        self.versus("training step 512x512, batch 1, against PyTorch", *self.pick(((2.5, 3.5), (2.0, 2.8))), ours, theirs, self.a.rounds)

    def rate(self):
        ours, limits = self.ours("step", size=512), self.ours("limits")
        in_turn([ours, limits], self.a.rounds)
        ours.close(), limits.close()
        gflop = ours.about["gflop"]
        ratios = [gflop / t / l["fma_gflops"] for t, l in zip(ours.times, limits.answers)]
        self.add("the same step, GFLOP/s over the multiply-add peak", gflop / ours.median() / limits.median("fma_gflops"), *self.pick(((1.3, 1.7), (1.1, 1.5))),
                 low=min(ratios), high=max(ratios), best=gflop / min(ours.times) / max(l["fma_gflops"] for l in limits.answers),
                 detail=f"{gflop:.0f} GFLOP in {words_of(ours.times)}; peak {limits.median('fma_gflops'):.0f} GFLOP/s, copy {limits.median('copy_gbytes'):.1f} GB/s")

    def infer(self):
        candidates = self.pytorch("infer") + [(self.a.python, "onnx_runtime.py", "infer", "default"), (self.a.python, "open_vino.py", "infer", "latency")]
        best = self.best(candidates, size=512)
        self.versus("inference 512x512 against the best of PyTorch, ONNX Runtime, OpenVINO", *self.pick(((1.6, 2.2), (1.5, 2.0))),
                    self.ours("infer", size=512), self.peer(*best, size=512), self.a.rounds)

    def convs(self):
        candidates = [(self.a.python, "onednn.py", "convs", s) for s in (("winograd", "direct", "auto") if not self.a.quick else ("winograd",))]
        best = self.best(candidates, size=512)
        self.versus("all 3x3 layers, three passes, against oneDNN per layer in its own layouts", *self.pick(((2.2, 2.6), (1.0, 1.3))),
                    self.ours("convs", size=512), self.peer(*best, size=512), self.a.rounds)

    def batch(self):
        one, four = self.ours("step", size=512, batch=1), self.ours("step", size=512, batch=4)
        in_turn([one, four], max(2, self.a.rounds // 2))
        one.close(), four.close()
        ratios = [4 * a / b for a, b in zip(one.times, four.times)]
        self.add("batch 4 against batch 1, per tile", 4 * one.median() / four.median(), 1.0, 1.0, low=min(ratios), high=max(ratios), best=4 * min(one.times) / min(four.times),
                 detail=f"{words_of(one.times)}; {words_of([t / 4 for t in four.times])} a tile")

    def dlprimitives(self):
        size = 256
        theirs = self.peer(self.a.python, "dlprimitives.py", "step", "default", size=size)
        self.versus(f"training step {size}x{size} against dlprimitives on PoCL", 10, 10, self.ours("step", size=size), theirs, 2)

    def memory(self):
        for batch in (1, 4):
            figure = f"peak memory of the training step against PyTorch's, batch {batch}"
            if batch == 1 and self.step_peaks:
                peaks = self.step_peaks
            else:
                self.best([(self.a.python, "pytorch.py", "step", form) for form in (("nhwc:eager", "nhwc:compile") if not self.a.quick else ("nhwc:eager",))], size=512, batch=batch)
                peaks = self.peaks
            name = min(peaks, key=peaks.get)
            ours = self.ours("step", size=512, batch=batch)
            ours.run()
            mine = ours.close()
            self.add(figure, mine / peaks[name], 0.65, 0.5, smaller=True,
                     detail=f"cdunet {mine / 2**20:.0f} MiB, of which {ours.about['planned_bytes'] / 2**20:.0f} planned; {name} {peaks[name] / 2**20:.0f} MiB, its least; whole processes")

    def sizes(self):
        sizes = (256, 512, 1024)
        servers = [self.ours("step", size=s) for s in sizes]
        in_turn(servers, max(2, self.a.rounds // 2))
        for s in servers:
            s.close()
        cost = [s.median() / n ** 2 * 1e6 for s, n in zip(servers, sizes)]
        least = [min(s.times) / n ** 2 for s, n in zip(servers, sizes)]
        self.add("cost over size: seconds a pixel at 256, 512, 1024, largest over smallest", max(cost) / min(cost), 1.15, 1.15, smaller=True, best=max(least) / min(least),
                 detail=", ".join(f"{n}: {c:.3f} us" for n, c in zip(sizes, cost)))

    def small(self):
        settings = dict(width=8, size=256, batch=4)
        best = self.best(self.pytorch("step"), **settings)
        self.versus("small width (8), 256x256, batch 4, training, against PyTorch", 2.0, 2.0, self.ours("step", **settings), self.peer(*best, **settings), self.a.rounds)

    def lavapipe(self):
        settings = dict(size=128)
        theirs = self.peer(self.a.python, "ncnn_vulkan.py", "infer", "winograd", **settings)
        self.versus("lavapipe, inference 128x128, against ncnn on lavapipe", 1.0, 1.0, self.ours("infer", device="llvmpipe", **settings), theirs, 3)


ROWS = ["step", "rate", "infer", "convs", "batch", "dlprimitives", "memory", "sizes", "small", "lavapipe"]


def words_of(times):
    return f"{statistics.median(times):.4f} s ({min(times):.4f} to {max(times):.4f})"


def machine():
    cpu = {}
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        key, _, value = line.partition(":")
        cpu.setdefault(key.strip(), value.strip())
    flags = cpu.get("flags", "").split()
    kind = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "neither AVX2 nor AVX-512"
    return f"{cpu.get('model name', 'unknown processor')} (family {cpu.get('cpu family', '?')}, model {cpu.get('model', '?')}), {kind}, {len(os.sched_getaffinity(0))} processors"


def print_table(bench, device, began):
    print(f"\n{machine()}; {device}; load {os.getloadavg()[0]:.1f}; {time.time() - began:.0f} s\n")
    print(f"{'figure':74s} {'ratio':>6s} {'of minima':>9s} {'rounds':>13s} {'target':>12s} {'aim':>5s} {'other work':>10s}  reached")
    for r in bench.rows:
        ratio = "-" if r["ratio"] is None else f"{r['ratio']:.2f}"
        best = "" if r["best"] is None else f"{r['best']:.2f}"
        rounds = "" if r["low"] is None else f"{r['low']:.2f} to {r['high']:.2f}"
        target = f"{'at most' if r['smaller'] else '>='} {r['target']:g}"
        reached = "not measured" if r["reached"] is None else "aim" if (r["ratio"] <= r["aim"] if r["smaller"] else r["ratio"] >= r["aim"]) else "yes" if r["reached"] else "no"
        print(f"{r['figure']:74s} {ratio:>6s} {best:>9s} {rounds:>13s} {target:>12s} {r['aim']:5g} {100 * r['other']:8.0f} %  {reached}")
    print()
    for r in bench.rows:
        print(f"{r['figure']}: {r['detail']}")
    for note in bench.notes:
        print(f"note: {note}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(FOLDER, "..", "build"))
    p.add_argument("--device", default="opencl:0")
    p.add_argument("--python", default=sys.executable, help="Python in which the newest peers are installed")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--quick", action="store_true", help="one setting of each peer, for a look")
    p.add_argument("--only", default=",".join(ROWS), help="rows, by name: " + ", ".join(ROWS))
    p.add_argument("--json", metavar="FILE", help="write the table there too")
    a = p.parse_args()
    wanted = a.only.split(",")
    for name in wanted:
        if name not in ROWS:
            sys.exit(f"targets: there is no row '{name}'; there are {', '.join(ROWS)}")
    if not os.access(os.path.join(a.build, "cdunet-bench"), os.X_OK):
        sys.exit(f"targets: {os.path.join(a.build, 'cdunet-bench')} is not there; ./dev build makes it")
    bench, began, device = Bench(a), time.time(), a.device
    for name in ROWS:
        if name not in wanted:
            continue
        bench.say(f"{name} ({time.time() - began:.0f} s so far)")
        before, row, wall = busy_seconds() - own_seconds(), len(bench.rows), time.time()
        try:
            getattr(bench, name)()
        except Gone as why:
            bench.note(f"{name}: {why}")
            bench.add(name, None, 0, 0, detail=str(why))
        other = max(0.0, busy_seconds() - own_seconds() - before) / (time.time() - wall) / os.cpu_count()
        for r in bench.rows[row:]:
            r["other"] = other
        if other > 0.05:
            bench.note(f"{name}: other work took {100 * other:.0f} % of the processors meanwhile; libraries that spin at barriers suffer most: measure again on a quiet machine")
    print_table(bench, device, began)
    if a.json:
        with open(a.json + ".new", "w", encoding="utf-8") as file:
            json.dump(dict(machine=machine(), device=device, load=os.getloadavg()[0], seconds=time.time() - began, rows=bench.rows, notes=bench.notes), file, indent=2)
        os.replace(a.json + ".new", a.json)


main()
