#!/usr/bin/env python3
"""cdunet-bench scale under mpiexec, and the model of bench/scale.py: what is summed is all gradients of the paper's network, in several buckets; a line is
fitted again from its own points; more ranks are never faster. Times are not tested. Usage: scale.py MPIEXEC CDUNET-BENCH SOURCE."""
import importlib.util, json, os, subprocess, sys, tempfile

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

latency, slope = scale.fit([{"bytes": 4 ** i, "seconds_median": 2 * (3e-5 + 4 ** i * 2e-9)} for i in range(5, 13)])
assert abs(latency / 3e-5 - 1) < 1e-6 and abs(slope / 2e-9 - 1) < 1e-6, (latency, slope)
slow = lambda ranks, size: 2 * (ranks - 1) * (1e-4 + size / ranks * 1e-8)
steps = [scale.step(0.1, 0.001, r, slow, 31e6, 1e6) for r in scale.RANKS]
assert steps[0] == 0.1 and steps == sorted(steps) and steps[1] > 0.3, steps
with tempfile.TemporaryDirectory() as folder:
    scale.draw(f"{folder}/a.svg", {link: {r: 0.5 for r in scale.RANKS} for link in scale.LINKS}, {2: (0.4, 0.5, 0.6)})
    with open(f"{folder}/a.svg") as f:
        assert f.read().count("<polyline") == 3
print("as it should be")
