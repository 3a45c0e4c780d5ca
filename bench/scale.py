#!/usr/bin/env python3
"""Measures sums and steps by `cdunet-bench scale` on 1, 2 and 4 ranks, fits a model to 1 and 2 ranks, compares its prediction for 4 with what was measured,
and draws what it says of 15, 64 and 1024 ranks on links of 1, 10 and 100 Gbit/s. The ranks share this machine's memory, or, with --rate and --delay
(that needs root), sit in network namespaces of their own, joined by `cdunet-bench link`, and speak TCP.

Model. A sum of S bytes over R ranks is a scatter and a ring: T(R, S) = R latency + 2 (R - 1) / R S / bandwidth. Buckets of gradients leave when they are
there, as the sleeping device has it, and are summed one after the other: what is not back when the last one leaves is waited for. A step is the
device's time, that wait, and noise(R), the mean largest of R normal delays, s sqrt(2 ln R), with s from what 2 ranks took beyond it.
Leaves out switches that are shared: each rank has its link. What is said of more than 4 ranks is predicted, not measured.
"""
import argparse, json, math, os, subprocess, sys, tempfile

sys.dont_write_bytecode = True
LINKS, RANKS, MEASURED = [1, 10, 100], [1, 2, 4, 8, 15, 32, 64, 128, 256, 512, 1024], (1, 2, 4)
LINK_LATENCY, ONE_MESSAGE = 50e-6, 4096  # sums of at most ONE_MESSAGE bytes take another way (dist/mpi.c)


class Local:
    """Ranks that share this machine's memory."""
    name, rate = "shared memory of one machine, no network", None

    def __enter__(self):
        return self

    def __exit__(self, *what):
        pass

    def words(self, a, ranks):
        return [a.mpiexec, "-n", str(ranks)]

    def environment(self):
        return dict(os.environ)


class Link:
    """A namespace for each rank, with a TUN device whose packets `cdunet-bench link` carries; mpiexec sits in the first."""

    def __init__(self, a, ports=max(MEASURED)):
        self.a, self.rate, self.names = a, a.rate, [f"cdunet-{os.getpid()}-{i + 1}" for i in range(ports)]
        self.name, self.relay = f"links of {a.rate:g} Gbit/s with {a.delay:g} us of delay between network namespaces, TCP", None

    def __enter__(self):
        try:
            for i, name in enumerate(self.names):
                run(["ip", "netns", "add", name])
                within = ["ip", "-n", name]
                run(within + ["tuntap", "add", "dev", "link0", "mode", "tun"])
                run(within + ["addr", "add", f"10.254.0.{i + 1}/24", "dev", "link0"])
                run(within + ["link", "set", "link0", "mtu", "65000", "up"])
                run(within + ["link", "set", "lo", "up"])
            self.relay = subprocess.Popen([self.a.bench, "link", "--rate", str(self.a.rate), "--delay", str(self.a.delay), *self.names],
                                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            if self.relay.stdout.readline() != "ready\n":
                sys.exit("scale.py: cdunet-bench link does not start")
            self.folder = tempfile.TemporaryDirectory(prefix="cdunet-scale-")
            self.launcher = os.path.join(self.folder.name, "enter")
            with open(self.launcher, "w") as f:  # Hydra calls it as ssh: -x HOST COMMAND
                f.write(f'#!/bin/sh\n[ "$1" = -x ] && shift\nhost=$1\nshift\nexec ip netns exec "cdunet-{os.getpid()}-${{host##*.}}" sh -c "$*"\n')
            os.chmod(self.launcher, 0o755)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *what):
        if self.relay:
            self.relay.stdin.close()
            self.relay.wait()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def words(self, a, ranks):
        hosts = ",".join(f"10.254.0.{i + 1}" for i in range(ranks))
        return ["ip", "netns", "exec", self.names[0], a.mpiexec, "-launcher", "ssh", "-launcher-exec", self.launcher, "-iface", "link0", "-hosts", hosts, "-n", str(ranks)]

    def environment(self):
        return dict(os.environ, UCX_TLS="tcp,self", UCX_NET_DEVICES="link0")


def run(words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"scale.py: {' '.join(words)}: {done.stderr.strip()} (--rate needs root, network namespaces and TUN devices)")


def measure(a, network, ranks):
    words = network.words(a, ranks) + [os.path.abspath(a.bench), "scale", "--json", "--sleep", str(a.sleep), "--repeats", str(a.repeats)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, env=network.environment())
    if done.returncode:
        sys.exit(f"scale.py: {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def sum_time(latency, slope, ranks, size):
    """Seconds of a sum; slope: seconds a byte."""
    return ranks * latency + 2 * (ranks - 1) / ranks * size * slope


def fit(rows):
    """Latency and seconds a byte of 2 ranks' sums, T = 2 latency + S slope: least squares of relative errors, neither negative; of the quickest
    repeats, since other work on the machine only adds."""
    points = [(2 / r["seconds_min"], r["bytes"] / r["seconds_min"]) for r in rows if r["bytes"] > ONE_MESSAGE]
    aa, ab, bb = (sum(p[i] * p[j] for p in points) for i, j in ((0, 0), (0, 1), (1, 1)))
    sa, sb = sum(p[0] for p in points), sum(p[1] for p in points)
    determinant = aa * bb - ab * ab
    latency, slope = (sa * bb - sb * ab) / determinant, (sb * aa - sa * ab) / determinant
    if latency < 0:
        latency, slope = 0.0, sb / bb
    if slope < 0:
        latency, slope = sa / aa, 0.0
    return latency, slope


def step(device, noise, ranks, sum_of, buckets):
    """Seconds of a step; buckets: (seconds from the step's beginning, bytes), in the order in which they leave."""
    if ranks == 1:
        return device
    back = 0.0
    for left, size in buckets:
        back = max(back, left) + sum_of(ranks, size)
    return device + max(0.0, back - buckets[-1][0]) + noise * math.sqrt(2 * math.log(ranks))


def draw(path, model, measured, where):
    """Efficiency by ranks: a line for each link, and the measured points, said to be from `where`."""
    left, top, wide, high, colours = 60, 30, 620, 360, ["#c03030", "#d08000", "#2060c0"]
    x = lambda r: left + wide * math.log2(r) / 10
    y = lambda e: top + high * (1 - e)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + wide + 200}" height="{top + high + 60}" font-family="sans-serif" font-size="13">',
           '<rect width="100%" height="100%" fill="white"/>']
    for e in range(0, 101, 20):
        out.append(f'<path d="M{left} {y(e / 100)}h{wide}" stroke="#ddd"/><text x="{left - 8}" y="{y(e / 100) + 4}" text-anchor="end">{e} %</text>')
    for r in RANKS:
        out.append(f'<path d="M{x(r):.1f} {top}v{high}" stroke="#eee"/><text x="{x(r):.1f}" y="{top + high + 18}" text-anchor="middle">{r}</text>')
    out.append(f'<text x="{left + wide / 2}" y="{top + high + 42}" text-anchor="middle">ranks</text><text x="{left}" y="18">efficiency: device time over step time</text>')
    lines = [(f"{link} Gbit/s (model)", colours[i], model[link]) for i, link in enumerate(LINKS)]
    for i, (name, colour, values) in enumerate(lines):
        points = " ".join(f"{x(r):.1f},{y(v):.1f}" for r, v in values.items())
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/><path d="M{left + wide + 12} {top + 20 + 22 * i}h18" stroke="{colour}" stroke-width="2"/>'
                   f'<text x="{left + wide + 36}" y="{top + 24 + 22 * i}">{name}</text>')
    for r, (least, middle, most) in measured.items():
        out.append(f'<path d="M{x(r):.1f} {y(least):.1f}V{y(most):.1f}" stroke="black"/><circle cx="{x(r):.1f}" cy="{y(middle):.1f}" r="4"/>')
    out.append(f'<circle cx="{left + wide + 21}" cy="{top + 86}" r="4"/><text x="{left + wide + 36}" y="{top + 90}">measured here,</text>'
               f'<text x="{left + wide + 36}" y="{top + 106}">{where}</text></svg>')
    with open(path, "w") as f:
        f.write("\n".join(out) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bench", default="build/cdunet-bench")
    parser.add_argument("--mpiexec", default="mpiexec.mpich")
    parser.add_argument("--sleep", type=float, default=1000, help="milliseconds of the device in a step")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--rate", type=float, help="Gbit/s of each rank's link, in network namespaces; needs root")
    parser.add_argument("--delay", type=float, default=50, help="microseconds from rank to rank on these links")
    parser.add_argument("--out", default="scale.svg")
    a = parser.parse_args()
    with Link(a) if a.rate else Local() as network:
        reports = {r: measure(a, network, r) for r in MEASURED}
    steps = {r: reports[r]["steps"][0] for r in reports}
    latency, slope = fit(reports[2]["sums"])
    here = lambda ranks, size: sum_time(latency, slope, ranks, size)
    device, two, four = steps[1]["step_median"], steps[2], steps[4]
    buckets = list(zip(two["bucket_left"], two["bucket_bytes"]))
    # what the sums do not explain of what 2 ranks take longer is noise
    noise = max(0.0, two["step_median"] - step(device, 0, 2, here, buckets)) / math.sqrt(2 * math.log(2))
    predicted = step(device, noise, 4, here, buckets)
    print(f"load at the start {reports[1]['host']['load']:.1f} on {reports[1]['host']['processors']} processors; {network.name}")
    print("sums, ms, by KiB: " + "; ".join(f"{r} ranks " + ", ".join(f"{s['bytes'] // 1024}: {s['seconds_median'] * 1e3:.3f}" for s in reports[r]["sums"]) for r in MEASURED[1:]))
    print(f"fit of 2 ranks: latency {latency * 1e6:.0f} us, {1e-9 / slope:.3f} GB/s ({8e-9 / slope:.2f} Gbit/s); noise of a rank {noise * 1e3:.1f} ms")
    for r, s in steps.items():
        hidden = "" if s["hidden"] is None else f"; sums alone {s['alone_median'] * 1e3:.1f} ms, {100 * s['hidden']:.1f} % hidden"
        print(f"{r} ranks: step {s['step_min'] * 1e3:.1f} / {s['step_median'] * 1e3:.1f} / {s['step_max'] * 1e3:.1f} ms{hidden}")
    alone = sum(here(4, size) for _, size in buckets)
    print(f"4 ranks predicted from 1 and 2: sums alone {alone * 1e3:.1f} ms, {100 * (alone / four['alone_median'] - 1):+.1f} % off the median")
    off = predicted / four["step_median"] - 1
    print(f"4 ranks predicted from 1 and 2: step {predicted * 1e3:.1f} ms, {100 * off:+.1f} % off the median" + (" (aim: within 10 %)" if abs(off) <= 0.1 else ": MISSED, aim within 10 %"))
    model = {}
    away = latency if network.rate else LINK_LATENCY
    for link in LINKS:
        model[link] = {r: device / step(device, noise, r, lambda ranks, size: sum_time(away, 8e-9 / link, ranks, size), buckets) for r in RANKS}
        print(f"{link:3d} Gbit/s, {away * 1e6:.0f} us: " + ", ".join(f"{r} ranks {100 * model[link][r]:.1f} %" for r in (15, 64, 1024)))
    draw(a.out, model, {r: (device / s["step_max"], device / s["step_median"], device / s["step_min"]) for r, s in steps.items()},
         f"{a.rate:g} Gbit/s, {a.delay:g} us" if a.rate else "shared memory")
    print(a.out)


if __name__ == "__main__":
    main()
