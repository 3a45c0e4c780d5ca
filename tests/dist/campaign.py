#!/usr/bin/env python3
"""Ranks die (killed, a fault, abort, exit with code 0 in the midst) and stall (stopped) at random steps of a training under mpiexec.

After a death every process of the job must be gone within 5 s, after a stall with code 74 within the deadline and 2 s; no such job may return 0
or leave its completion marker, and each must go on with --resume to the bytes that an undisturbed run has. Usage: campaign.py MPIEXEC CDUNET LEAVE.so
[--deaths N] [--stalls N] [--seed N]. LEAVE.so is main_leave.c. Ends with 77 where there is no OpenCL device.
"""
import argparse, hashlib, os, random, signal, struct, subprocess, sys, tempfile, time, zlib

sys.dont_write_bytecode = True
STEPS, DEADLINE, GONE = 80, 3.0, 5.0
DEATHS = [("kill", signal.SIGKILL), ("segv", signal.SIGRTMIN + 1), ("abort", signal.SIGRTMIN + 2), ("exit 0", signal.SIGRTMIN + 3)]
STUDY = """format: 1
name: campaign
slides: slides.csv
classes:
  - {name: Ground, color: "#000000"}
  - {name: Tumor, color: "#c80000"}
tiles: {mpp: 1.0, size: 16, stride: 16, empty: 1.0}
model: {kind: cdunet, width: 1, depth: 2}
train: {batch: 2, epochs: 100, seed: 5}
"""


def png(path, side, channels, pixel):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    rows = b"".join(b"\0" + b"".join(bytes(pixel(x, y)) for x in range(side)) for y in range(side))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2 if channels == 3 else 0, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def write_study(folder):
    noise = random.Random(1)
    tumor = lambda x, y: (x // 9 + y // 7) % 2
    png(f"{folder}/slide.png", 96, 3, lambda x, y: [noise.randrange(60) + (150 if tumor(x, y) else 40 * c) for c in range(3)])
    png(f"{folder}/labels.png", 96, 1, lambda x, y: [tumor(x, y)])
    with open(f"{folder}/slides.csv", "w") as f:
        f.write("slide,annotation,stain,case,split,mpp\nslide.png,labels.png,HE,a,train,1.0\n")
    with open(f"{folder}/study.yaml", "w") as f:
        f.write(STUDY)


class Job:
    """One mpiexec, in a session of its own, so that its processes can be counted."""

    def __init__(self, a, folder, run, ranks, resume):
        self.mark = os.path.abspath(run)
        words = [a.mpiexec, "-n", str(ranks), a.cdunet, "train", f"{folder}/study.yaml", "--out", run, "--device", ",".join(["opencl:0"] * ranks), "--oversubscribe",
                 "--max-steps", str(STEPS), "--deadline", str(DEADLINE), "--no-report", "--threads", "1"] + (["--resume"] if resume else [])
        self.run, self.errors = run, open(f"{folder}/errors", "w+")
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=self.errors, env=dict(os.environ, LD_PRELOAD=a.leave, CAMPAIGN_RUN=self.mark), start_new_session=True)

    def ranks(self):
        """(number, process) of the ranks that are there."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
                with open(f"/proc/{pid}/stat") as f:
                    state = f.read().rpartition(")")[2].split()[0]
                if len(words) < 2 or words[1] != b"train" or os.fsencode(self.run) not in words or state == "Z":
                    continue
                with open(f"/proc/{pid}/environ", "rb") as f:
                    number = [v[9:] for v in f.read().split(b"\0") if v.startswith(b"PMI_RANK=")]
                found += [(int(number[0]), int(pid))] if number else []
            except OSError:
                pass
        return sorted(found)

    def anyone(self):
        """Whether any process of the job is left, ranks' guards too, whose words are not a rank's."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    if b"CAMPAIGN_RUN=" + os.fsencode(self.mark) in f.read().split(b"\0"):
                        return True
            except OSError:
                pass
        return False

    def steps(self):
        try:
            with open(f"{self.run}/log.csv", "rb") as f:
                return max(0, f.read().count(b"\n") - 1)
        except OSError:
            return 0

    def wait_for_step(self, step, patience=120):
        end = time.monotonic() + patience
        while self.steps() < step and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        return self.process.poll() is None

    def wait_for_end(self, seconds):
        """The seconds until mpiexec and all ranks were gone; None where they were not in time."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if self.process.poll() is not None and not self.anyone():
                return time.monotonic() - began
            time.sleep(0.01)
        return None

    def end(self):
        for _, pid in self.ranks():
            os.kill(pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.errors.seek(0)
        return self.errors.read().strip()


def fingerprint(run):
    with open(f"{run}/checkpoint.safetensors", "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def whole(a, folder, run, ranks, resume):
    job = Job(a, folder, run, ranks, resume)
    took = job.wait_for_end(180)
    words = job.end()
    if took is None or job.process.returncode != 0 or not os.path.exists(f"{run}/complete"):
        return f"does not end well (code {job.process.returncode}): {words}"
    return None


def disturb(a, folder, name, number, ranks, rank, step, within):
    """One line of what is wrong, or None."""
    run = tempfile.mkdtemp(prefix="run-", dir=folder)
    job = Job(a, folder, run, ranks, False)
    try:
        job.wait_for_step(1)
        who = dict(job.ranks())
        if not job.wait_for_step(step):
            return "ended before it was disturbed: " + job.end(), 0
        if len(who) != ranks:
            return f"{len(who)} of {ranks} ranks were found", 0
        os.kill(who[rank], number)
        then = job.steps()
        took = job.wait_for_end(within)
        late = None if took is not None else job.wait_for_end(60)
    finally:
        words = job.end()
    if took is None:
        return (f"late: gone after {within + late:.1f} s, not {within:.0f}" if late is not None else f"hangs: not gone after {within + 60:.0f} s") + ": " + words, within
    code = job.process.returncode
    if os.path.exists(f"{run}/complete"):
        return f"leaves its completion marker (code {code}; it was at step {then}, then {job.steps()}): {words}", took
    if code == 0:
        return "returns 0: " + words, took
    if name == "stop" and code != 74:
        return f"returns {code}, not 74: {words}", took
    wrong = whole(a, folder, run, ranks, True)
    if wrong:
        return "resumed, " + wrong, took
    return (None if fingerprint(run) == a.expected[ranks] else "resumed, ends with other bytes"), took


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("mpiexec", "cdunet", "leave"):
        parser.add_argument(name)
    parser.add_argument("--deaths", type=int, default=4)
    parser.add_argument("--stalls", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    a.expected = {}
    chance, failures, slowest = random.Random(a.seed), 0, {}
    if subprocess.run([a.cdunet, "devices"], capture_output=True, text=True).stdout.find("opencl:0") < 0:
        print("there is no opencl:0")
        return 77
    with tempfile.TemporaryDirectory(prefix="cdunet-campaign-") as folder:
        write_study(folder)
        for i in range(a.deaths + a.stalls):
            ranks = 2 + i % 3 if a.deaths > 6 else 2 + i % 2
            if ranks not in a.expected:
                wrong = whole(a, folder, f"{folder}/undisturbed-{ranks}", ranks, False)
                if wrong:
                    print(f"{ranks} ranks, undisturbed: {wrong}")
                    return 1
                a.expected[ranks] = fingerprint(f"{folder}/undisturbed-{ranks}")
            name, number = DEATHS[i % len(DEATHS)] if i < a.deaths else ("stop", signal.SIGSTOP)
            rank, step = chance.randrange(ranks), chance.randrange(1, STEPS // 4)
            wrong, took = disturb(a, folder, name, number, ranks, rank, step, GONE if i < a.deaths else DEADLINE + 2)
            slowest[name] = max(slowest.get(name, 0), took)
            failures += wrong is not None
            print(f"{i + 1}: {name}, rank {rank} of {ranks} after step {step}: " + (wrong or f"all gone after {took:.2f} s, resumed to the same bytes"), flush=True)
    print(f"{a.deaths} deaths, {a.stalls} stalls, {failures} not as they should; slowest " + ", ".join(f"{n} {s:.2f} s" for n, s in slowest.items()))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
