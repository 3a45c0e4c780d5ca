#!/usr/bin/env python3
"""cdunet-bench scale under mpiexec, and the model of bench/scale.py: what is summed is all gradients of the paper's network, in several buckets; a line is
fitted again from its own points; more ranks are never faster; a link takes at least the time that its rate and delay ask for. Usage: scale.py MPIEXEC CDUNET-BENCH SOURCE."""
import argparse, importlib.util, json, os, shutil, subprocess, sys, tempfile

sys.dont_write_bytecode = True
mpiexec, bench, source = sys.argv[1:4]
specification = importlib.util.spec_from_file_location("scale", os.path.join(source, "bench", "scale.py"))
scale = importlib.util.module_from_spec(specification)
specification.loader.exec_module(scale)

for ranks in (1, 2):
    done = subprocess.run([mpiexec, "-n", str(ranks), bench, "scale", "--json", "--sleep", "20", "--repeats", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)  # one rank speaks
    assert [r["bytes"] for r in report["sums"]] == [1024 * 4 ** i for i in range(9)] and all(r["ranks"] == ranks for r in report["sums"])
    step, = report["steps"]
    assert step["step_min"] >= 0.02, step
    if ranks == 1:
        assert step["buckets"] == 0 and step["hidden"] is None, step
    else:
        assert step["buckets"] > 2 and 31.0e6 < step["bytes"] < 31.5e6 and 0 <= step["hidden"] <= 1 and step["last_bucket"] < step["bytes"], step

rows = lambda latency, slope: [{"bytes": 4 ** i, "seconds_min": scale.sum_time(latency, slope, 2, 4 ** i)} for i in range(5, 13)]
latency, slope = scale.fit([{"bytes": 1024, "seconds_min": 1.0}] + rows(3e-5, 2e-9))  # what is sent whole does not count
assert abs(latency / 3e-5 - 1) < 1e-6 and abs(slope / 2e-9 - 1) < 1e-6, (latency, slope)
assert scale.fit(rows(0, 2e-9) + [{"bytes": 8192, "seconds_min": 1e-6}])[0] >= 0  # a line through these would begin below 0
slow = lambda ranks, size: scale.sum_time(1e-4, 1e-8, ranks, size)
buckets = [(0.02, 10e6), (0.05, 20e6), (0.09, 1e6)]
steps = [scale.step(0.1, 0.001, r, slow, buckets) for r in scale.RANKS]
assert steps[0] == 0.1 and steps == sorted(steps), steps
# 100, 200 and 10 ms of sums from 20 ms on, of which 70 ms pass while the device works
assert abs(scale.step(0.1, 0, 2, lambda ranks, size: size * 1e-8, buckets) - (0.1 + 0.02 + 0.31 - 0.09)) < 1e-9
assert scale.step(0.1, 0, 2, lambda ranks, size: size * 1e-12, buckets) < 0.1001
with tempfile.TemporaryDirectory() as folder:
    scale.draw(f"{folder}/a.svg", {link: {r: 0.5 for r in scale.RANKS} for link in scale.LINKS}, {2: (0.4, 0.5, 0.6)}, "in a test")
    with open(f"{folder}/a.svg") as f:
        text = f.read()
    assert text.count("<polyline") == 3 and "in a test" in text


def can_link():
    """Whether this user may make namespaces and TUN devices."""
    name = f"cdunet-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode == 0 and os.path.exists("/dev/net/tun")
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return made


def link():
    """Ranks in namespaces of their own: what a link of that rate and delay cannot beat, however busy the machine is."""
    a = argparse.Namespace(bench=bench, mpiexec=mpiexec, rate=0.2, delay=3000, sleep=20, repeats=1)
    with scale.Link(a, 2) as network:
        report = scale.measure(a, network, 2)
        names = network.names
    assert report["steps"][0]["ranks"] == 2 and len(report["steps"][0]["bucket_left"]) == report["steps"][0]["buckets"]
    for row in report["sums"]:
        # each rank sends half to the other, and later the sum of its half
        least = row["bytes"] * 8 / 0.2e9 if row["bytes"] > scale.ONE_MESSAGE else 0
        assert row["seconds_min"] >= least + (0.006 if least else 0.003), (row, least)
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    assert not any(name in left for name in names), left


if shutil.which("ip") and os.geteuid() == 0 and can_link():
    link()
else:
    print("no namespaces here: the link was not tried")
print("as it should be")
