#!/usr/bin/env python3
"""Measures sums and steps by `cdunet-bench scale` on 1, 2 and 4 ranks of this machine, fits a model to 1 and 2 ranks, compares its prediction for 4 with
what was measured, and draws what it says of 15, 64 and 1024 ranks on links of 1, 10 and 100 Gbit/s.

Model of a step: T(R) = device + noise(R) + max(tail, all - room). A sum of S bytes takes 2 (R - 1) (latency + S / R / bandwidth) on links of their own;
on one machine the ranks share its memory, so 2 (R - 1) (latency + S / shared). `all` is the sum of all gradients, `tail` that of the last bucket,
which leaves when there is nothing left to hide it behind, `room` the two thirds of the step in which buckets are there to be sent. noise(R) is the
mean largest of R normal delays, s sqrt(2 ln R), with s from the waiting for ranks at 2. What is predicted for links is predicted, not measured.
"""
import argparse, json, math, subprocess, sys

sys.dont_write_bytecode = True
LINKS, RANKS = [1, 10, 100], [1, 2, 4, 8, 15, 32, 64, 128, 256, 512, 1024]
LINK_LATENCY = 20e-6


def measure(a, ranks):
    words = [a.mpiexec, "-n", str(ranks), a.bench, "scale", "--json", "--sleep", str(a.sleep), "--repeats", str(a.repeats)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    if done.returncode:
        sys.exit(f"scale.py: {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def fit(rows):
    """Latency and seconds a byte of 2 ranks, least squares of relative errors over the sizes: T = 2 (latency + S slope)."""
    xs, ys = [r["bytes"] for r in rows], [r["seconds_median"] / 2 for r in rows]
    w = [1 / y ** 2 for y in ys]
    sw, sx, sy = sum(w), sum(a * b for a, b in zip(w, xs)), sum(a * b for a, b in zip(w, ys))
    sxx, sxy = sum(a * x * x for a, x in zip(w, xs)), sum(a * x * y for a, x, y in zip(w, xs, ys))
    slope = (sw * sxy - sx * sy) / (sw * sxx - sx * sx)
    return max(0.0, (sy - slope * sx) / sw), slope


def step(device, noise, ranks, sum_of, bytes_all, tail):
    if ranks == 1:
        return device
    return device + noise * math.sqrt(2 * math.log(ranks)) + max(sum_of(ranks, tail), sum_of(ranks, bytes_all) - 2 / 3 * device)


def draw(path, model, measured):
    """Efficiency by ranks: a line for each link, and the measured points."""
    left, top, wide, high, colours = 60, 30, 620, 360, ["#c03030", "#d08000", "#2060c0"]
    x = lambda r: left + wide * math.log2(r) / 10
    y = lambda e: top + high * (1 - e)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + wide + 170}" height="{top + high + 60}" font-family="sans-serif" font-size="13">',
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
               f'<text x="{left + wide + 36}" y="{top + 106}">shared memory</text></svg>')
    with open(path, "w") as f:
        f.write("\n".join(out) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bench", default="build/cdunet-bench")
    parser.add_argument("--mpiexec", default="mpiexec.mpich")
    parser.add_argument("--sleep", type=float, default=1000, help="milliseconds of the device in a step")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", default="scale.svg")
    a = parser.parse_args()
    reports = {r: measure(a, r) for r in (1, 2, 4)}
    steps = {r: reports[r]["steps"][0] for r in reports}
    latency, slope = fit(reports[2]["sums"])
    device, two, four = steps[1]["step_median"], steps[2], steps[4]
    shared = lambda ranks, size: 2 * (ranks - 1) * (latency + size * slope)
    # of two ranks' delay, what the sums do not explain is noise
    noise = max(0.0, two["step_median"] - step(device, 0, 2, shared, two["bytes"], two["last_bucket"])) / math.sqrt(2 * math.log(2))
    predicted = step(device, noise, 4, shared, two["bytes"], two["last_bucket"])
    print(f"load at the start {reports[1]['host']['load']:.1f} on {reports[1]['host']['processors']} processors; shared memory of one machine, no network")
    print(f"fit of 2 ranks: latency {latency * 1e6:.0f} us, {1e-9 / slope:.3f} GB/s; noise of a rank {noise * 1e3:.1f} ms")
    for r, s in steps.items():
        hidden = "" if s["hidden"] is None else f"; sums alone {s['alone_median'] * 1e3:.1f} ms, {100 * s['hidden']:.1f} % hidden"
        print(f"{r} ranks: step {s['step_min'] * 1e3:.1f} / {s['step_median'] * 1e3:.1f} / {s['step_max'] * 1e3:.1f} ms{hidden}")
    off = predicted / four["step_median"] - 1
    print(f"4 ranks predicted from 1 and 2: {predicted * 1e3:.1f} ms, {100 * off:+.1f} % off the median" + (" (aim: within 10 %)" if abs(off) <= 0.1 else ": MISSED, aim within 10 %"))
    model = {}
    for link in LINKS:
        own = lambda ranks, size, rate=link * 1e9 / 8: 2 * (ranks - 1) * (LINK_LATENCY + size / ranks / rate)
        model[link] = {r: device / step(device, noise, r, own, two["bytes"], two["last_bucket"]) for r in RANKS}
        print(f"{link:3d} Gbit/s, {LINK_LATENCY * 1e6:.0f} us: " + ", ".join(f"{r} ranks {100 * model[link][r]:.1f} %" for r in (15, 64, 1024)))
    draw(a.out, model, {r: (device / s["step_max"], device / s["step_median"], device / s["step_min"]) for r, s in steps.items()})
    print(a.out)


if __name__ == "__main__":
    main()
