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
ROUND_SECONDS = 0.8


class Gone(Exception):
    """A program that cannot take part, with the one line that says why."""


class Server:
    def __init__(self, name, words, environment=None, patience=300):
        self.name, self.times, self.answers, self.on_end = name, [], [], 1
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
        """One round: work is done again for most of a second, since threads that slept begin on one processor; the first time counts only where there is no other."""
        time.sleep(0.03)  # other programs' threads may still spin
        began, answers = time.monotonic(), []
        while not answers or time.monotonic() - began < ROUND_SECONDS:
            self.process.stdin.write(f"run {self.on_end}\n" if self.on_end > 1 else "run\n")
            self.process.stdin.flush()
            answers.append(self.read(300))
        counted = sorted(answers[1:] or answers, key=lambda a: a["seconds"])
        self.answers.append(counted[(len(counted) - 1) // 2])
        self.times.append(self.answers[-1]["seconds"])

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


# by row: what it is, (target, aim) with AVX2 and with AVX-512, whether less is better
FIGURES = {
    "step": ("training step 512x512, batch 1, against PyTorch", (2.5, 3.5), (2.0, 2.8), False),
    "rate": ("the same step, GFLOP/s over the multiply-add peak", (1.3, 1.7), (1.1, 1.5), False),
    "infer": ("inference 512x512 against the best of PyTorch, ONNX Runtime, OpenVINO", (1.6, 2.2), (1.5, 2.0), False),
    "convs": ("all 3x3 layers, three passes, against oneDNN per layer in its own layouts", (2.2, 2.6), (1.0, 1.3), False),
    "batch": ("batch 4 against batch 1, per tile", (1.0, 1.0), (1.0, 1.0), False),
    "dlprimitives": ("training step 256x256 against dlprimitives on PoCL", (10, 10), (10, 10), False),
    "memory1": ("peak memory of the training step against PyTorch's, batch 1", (0.65, 0.5), (0.65, 0.5), True),
    "memory4": ("peak memory of the training step against PyTorch's, batch 4", (0.65, 0.5), (0.65, 0.5), True),
    "sizes": ("seconds a pixel at 256, 512, 1024, largest over smallest", (1.15, 1.15), (1.15, 1.15), True),
    "small": ("small width (8), 256x256, batch 4, training, against PyTorch", (2.0, 2.0), (2.0, 2.0), False),
    "lavapipe": ("lavapipe, inference 128x128, against ncnn on lavapipe", (1.0, 1.0), (1.0, 1.0), False),
}


class Bench:
    def __init__(self, a):
        self.a, self.rows, self.notes, self.step_peaks, self.servers = a, [], [], {}, []
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            self.wide = "avx512f" in file.read()

    def start(self, name, words, settings):
        for key, value in settings.items():
            words += [f"--{key}", str(value)]
        self.servers.append(Server(name, words))
        return self.servers[-1]

    def ours(self, what, device=None, **settings):
        return self.start("cdunet", [os.path.join(self.a.build, "cdunet-bench"), "serve", what, "--device", device or self.a.device], settings)

    def peer(self, python, script, what, setting, **settings):
        return self.start(f"{script} {setting}", [python, os.path.join(FOLDER, "peers", script), what, "--serve", "--setting", setting], settings)

    def close(self):
        for server in self.servers:
            server.close()
        self.servers.clear()

    def say(self, words):
        print(words, file=sys.stderr, flush=True)

    def note(self, words):
        self.say("    " + words)
        if words not in self.notes:
            self.notes.append(words)

    def pytorch(self, what):
        """PyTorch's settings: those that were ever the best, or all of them, the newest and Debian's."""
        if what == "step":
            forms, old = ["nhwc:compile", "nhwc:eager", "nchw:eager"], ["nchw:eager"]
            more, more_old = ["nchw:compile", "nhwc:compile:malloc", "nhwc:eager:malloc", "nchw:eager:malloc"], ["nhwc:eager", "nchw:eager:malloc"]
        else:
            forms, old = ["nhwc:compile", "nhwc:frozen", "nchw:frozen"], ["nchw:frozen"]
            more, more_old = ["nchw:compile", "nhwc:eager", "nchw:eager", "nhwc:frozen:malloc"], ["nhwc:frozen", "nchw:eager"]
        if self.a.quick:
            forms, old = forms[1:2], []
        elif self.a.all:
            forms, old = forms + more, old + more_old
        return [(self.a.python, "pytorch.py", what, f) for f in forms] + [(DEBIAN, "pytorch.py", what, f) for f in old]

    def best(self, candidates, runs=2, **settings):
        """The candidate that is fastest by itself; their peaks of memory stay in self.peaks."""
        found, self.peaks = [], {}
        for candidate in candidates:
            try:
                server = self.peer(*candidate, **settings)
                for _ in range(1 if self.a.quick else runs):
                    server.run()
                peak = server.close()
                name = f"{server.about['peer']} {server.about['version']} {candidate[3]}"
                found.append((min(server.times), candidate))
                self.peaks[name] = peak
                self.say(f"    {name}: {min(server.times):.4f} s, {peak / 2**20:.0f} MiB")
            except Gone as why:
                self.note(str(why))
        if not found:
            raise Gone("none of the peers could be measured")
        return min(found)[1]

    def add(self, name, ratio, rounds=None, best=None, detail=""):
        figure, avx2, avx512, smaller = FIGURES[name]
        least, aim = avx512 if self.wide else avx2
        reaches = lambda limit: ratio <= limit if smaller else ratio >= limit
        reached = "not measured" if ratio is None else "aim" if reaches(aim) else "yes" if reaches(least) else "no"
        self.rows.append(dict(row=name, figure=figure, ratio=ratio, of_minima=best, rounds=[min(rounds), max(rounds)] if rounds else None, target=least, aim=aim, smaller=smaller,
                              reached=reached, detail=detail))
        self.say(f"  {figure}: {'-' if ratio is None else f'{ratio:.2f}'}")

    def versus(self, name, ours, theirs, rounds):
        in_turn([ours, theirs], rounds)
        about = theirs.about
        self.add(name, theirs.median() / ours.median(), [b / a for a, b in zip(ours.times, theirs.times)], min(theirs.times) / min(ours.times),
                 f"cdunet {words_of(ours.times)}; {about['peer']} {about['version']} {about.get('setting', '')} {words_of(theirs.times)}")

    def row(self, name):
        """Measures one row, and tells what else took the processors meanwhile."""
        before, began, first = busy_seconds() - own_seconds(), time.time(), len(self.rows)
        try:
            getattr(self, name)()
        except Gone as why:
            self.note(f"{name}: {why}")
            self.close()
            for figure in ("memory1", "memory4") if name == "memory" else (name,):
                if not any(r["row"] == figure for r in self.rows):
                    self.add(figure, None, detail=str(why))
        self.close()
        other = max(0.0, busy_seconds() - own_seconds() - before) / (time.time() - began) / os.cpu_count()
        for r in self.rows[first:]:
            r["other_work"] = other
        if other > 0.05:
            self.note(f"{name}: other work took {100 * other:.0f} % of the processors meanwhile; libraries that spin at barriers suffer most: measure again on a quiet machine")

    # ---- the rows ----

    def step(self):
        best = self.best(self.pytorch("step"), size=512)
        self.step_peaks = self.peaks
        self.versus("step", self.ours("step", size=512), self.peer(*best, size=512), self.a.rounds)

    def rate(self):
        ours, limits = self.ours("step", size=512), self.ours("limits")
        in_turn([ours, limits], self.a.rounds)
        gflop, fma = ours.about["gflop"], [l["fma_gflops"] for l in limits.answers]
        self.add("rate", gflop / ours.median() / statistics.median(fma), [gflop / t / f for t, f in zip(ours.times, fma)], gflop / min(ours.times) / max(fma),
                 f"{gflop:.0f} GFLOP in {words_of(ours.times)}; peak {statistics.median(fma):.0f} GFLOP/s, copy {limits.median('copy_gbytes'):.1f} GB/s")

    def infer(self):
        best = self.best(self.pytorch("infer") + [(self.a.python, "onnx_runtime.py", "infer", "default"), (self.a.python, "open_vino.py", "infer", "latency")], size=512)
        self.versus("infer", self.ours("infer", size=512), self.peer(*best, size=512), self.a.rounds)

    def convs(self):
        best = self.best([(self.a.python, "onednn.py", "convs", s) for s in (("winograd",) if self.a.quick else ("winograd", "direct", "auto"))], size=512)
        self.versus("convs", self.ours("convs", size=512), self.peer(*best, size=512), self.a.rounds)

    def batch(self):
        one, four = self.ours("step", size=512, batch=1), self.ours("step", size=512, batch=4)
        in_turn([one, four], max(2, self.a.rounds // 2))
        self.add("batch", 4 * one.median() / four.median(), [4 * a / b for a, b in zip(one.times, four.times)], 4 * min(one.times) / min(four.times),
                 f"{words_of(one.times)}; {words_of([t / 4 for t in four.times])} a tile")

    def dlprimitives(self):
        theirs = self.peer(self.a.python, "dlprimitives.py", "step", "default", size=256)
        self.versus("dlprimitives", self.ours("step", size=256), theirs, 2)

    def memory(self):
        for batch in (1, 4):
            if batch == 4 or not self.step_peaks:
                forms = ("nhwc:eager",) if self.a.quick else ("nhwc:eager", "nhwc:compile")
                self.best([(self.a.python, "pytorch.py", "step", form) for form in forms], 1, size=512, batch=batch, warm=1)
            peaks = self.step_peaks if batch == 1 and self.step_peaks else self.peaks
            name = min(peaks, key=peaks.get)
            ours = self.ours("step", size=512, batch=batch)
            ours.run()
            mine = ours.close()
            self.add(f"memory{batch}", mine / peaks[name], detail=f"cdunet {mine / 2**20:.0f} MiB, of which {ours.about['planned_bytes'] / 2**20:.0f} planned; {name} "
                     f"{peaks[name] / 2**20:.0f} MiB, its least; whole processes")

    def sizes(self):
        sizes = (256, 512, 1024)
        servers = [self.ours("step", size=s) for s in sizes]
        for server, size in zip(servers, sizes):
            server.on_end = (sizes[-1] // size) ** 2  # as many pixels of each; a step by itself begins with threads that slept
        in_turn(servers, self.a.rounds)
        cost, least = ([f(s.times) / n ** 2 * 1e6 for s, n in zip(servers, sizes)] for f in (statistics.median, min))
        self.add("sizes", max(cost) / min(cost), best=max(least) / min(least), detail=", ".join(f"{n}: {c:.3f} us" for n, c in zip(sizes, cost)))

    def small(self):
        settings = dict(width=8, size=256, batch=4)
        best = self.best(self.pytorch("step"), **settings)
        self.versus("small", self.ours("step", **settings), self.peer(*best, **settings), self.a.rounds)

    def lavapipe(self):
        theirs = self.peer(self.a.python, "ncnn_vulkan.py", "infer", "winograd", size=128)
        self.versus("lavapipe", self.ours("infer", device="llvmpipe", size=128), theirs, 3)


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


def print_table(bench, began):
    print(f"\n{machine()}; {bench.a.device}; load {os.getloadavg()[0]:.1f}; {time.time() - began:.0f} s\n")
    print(f"{'figure':74s} {'ratio':>6s} {'of minima':>9s} {'rounds':>14s} {'target':>12s} {'aim':>5s} {'other work':>10s}  reached")
    for r in bench.rows:
        two = lambda number: "-" if number is None else f"{number:.2f}"
        rounds = f"{r['rounds'][0]:.2f} to {r['rounds'][1]:.2f}" if r["rounds"] else ""
        target = f"{'at most' if r['smaller'] else 'at least'} {r['target']:g}"
        print(f"{r['figure']:74s} {two(r['ratio']):>6s} {two(r['of_minima']):>9s} {rounds:>14s} {target:>12s} {r['aim']:5g} {100 * r['other_work']:8.0f} %  {r['reached']}")
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
    p.add_argument("--all", action="store_true", help="every setting of PyTorch, which takes some minutes more")
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
    bench, began = Bench(a), time.time()
    for name in ROWS:
        if name in wanted:
            bench.say(f"{name} ({time.time() - began:.0f} s so far)")
            bench.row(name)
    print_table(bench, began)
    if a.json:
        with open(a.json + ".new", "w", encoding="utf-8") as file:
            json.dump(dict(machine=machine(), device=a.device, load=os.getloadavg()[0], seconds=time.time() - began, rows=bench.rows, notes=bench.notes), file, indent=2)
        os.replace(a.json + ".new", a.json)


main()
