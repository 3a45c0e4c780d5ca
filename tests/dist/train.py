#!/usr/bin/python3
"""`cdunet train` under mpiexec: the same job twice and a job that was killed and resumed give the same bytes; another number of ranks goes on; settings
that differ are named before step 1; a rank that stalls, dies, loses its device or is told to stop ends all of them; a full disk; and what the log says;
shares by speed (--balance), and who has fallen behind.
A group without a deadline is planted, and must be seen to hang.

Usage: train.py PROGRAM MPIEXEC FAULTY same|differ|stall|die|balance|behind|lost...
"""
import glob, json, os, re, shutil, signal, struct, subprocess, sys, tempfile, time, zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from launch import ended, mpiexec, start

PROGRAM, MPIEXEC = sys.argv[1:3]
DEADLINE, CLASSES, SIDE, LOST_AFTER = 3, 3, 96, 1500


def picture(path, side, channels, pixel):
    """A PNG of 8 bits."""
    rows = b"".join(b"\0" + bytes(v for x in range(side) for v in pixel(x, y)) for y in range(side))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", side, side, 8, 2 if channels == 3 else 0, 0, 0, 0)
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def make_study(folder):
    for i in range(3):
        label = lambda x, y: (x // 12 * 7 + y // 12 * 5 + x // 24 * y // 24 + i) % CLASSES
        picture(f"{folder}/s{i}.png", SIDE, 3, lambda x, y: [(60 if label(x, y) == c else 150) + (x * 31 + y * 17 + c * 7) % 60 for c in range(3)])
        picture(f"{folder}/l{i}.png", SIDE, 1, lambda x, y: [label(x, y)])
    open(f"{folder}/slides.csv", "w").write("slide,annotation,stain,case,split,mpp\n" + "".join(
        f"s{i}.png,l{i}.png,HE,case{i},{split},1.0\n" for i, split in enumerate(("train", "train", "validation"))))
    slides = open(f"{folder}/slides.csv").readlines()
    open(f"{folder}/lone.csv", "w").writelines(slides[:2])
    text = ("format: 1\nname: ranks\nslides: slides.csv\nclasses:\n  - {name: Ground, color: \"#000000\"}\n  - {name: Tissue, color: \"#00a000\"}\n"
            "  - {name: Tumor, color: \"#c80000\"}\ntiles: {mpp: 1.0, size: 32, stride: 32, empty: 1.0}\nmodel: {kind: unet, width: 2, depth: 2}\n"
            "train:\n  batch: 2\n  epochs: 4\n  validate-every: 2\n  learning-rate: 0.02\n  learning-rate-batch: 4\n  seed: 3\n")
    for name, old, new in (("study", "", ""), ("rate", "rate: 0.02", "rate: 0.03"), ("classes", "Tumor", "Cancer"), ("synchronized", "seed: 3", "seed: 3\n  batch-norm: synchronized"),
                           ("long", "every: 2", "every: 100000"), ("lone", "slides: slides", "slides: lone")):
        open(f"{folder}/{name}.yaml", "w").write(text.replace(old, new) if old else text)


def command(study, out, *more, devices="opencl:0,opencl:0"):
    return [PROGRAM, "train", f"{scratch}/{study}.yaml", "--out", f"{scratch}/{out}", "--device", devices, "--no-report", "--deadline", "120", *more]


def run(study, out, *more, ranks=2, devices=None, code=0):
    done = mpiexec(MPIEXEC, ranks, command(study, out, *more, devices=devices or ",".join(["opencl:0"] * ranks)))
    if done.returncode != code:
        sys.exit(f"{out}: not code {code}: {ended(done)}")
    return done.stderr


def model(out):
    return open(f"{scratch}/{out}/model.safetensors", "rb").read()


def need(what, truth):
    print(what)
    if not truth:
        sys.exit(f"not so: {what}")


def rows(out):
    try:
        return sum(1 for _ in open(f"{scratch}/{out}/log.csv")) - 1
    except OSError:
        return 0


def rank_processes(job):
    """Process of each rank of a job that runs."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            words = open(path, "rb").read().split(b"\0")
            mine = open(os.path.dirname(path) + "/cmdline", "rb").read().split(b"\0")
        except OSError:
            continue
        if mine[0] == PROGRAM.encode() and job.encode() in mine:
            found.update({int(w[9:]): int(path.split("/")[2]) for w in words if w.startswith(b"PMI_RANK=")})
    return found


def nobody_left(out, patience=3):
    """What was killed needs a moment to go."""
    end = time.time() + patience
    while rank_processes(f"{scratch}/{out}") and time.time() < end:
        time.sleep(0.05)
    return not rank_processes(f"{scratch}/{out}")


def started(study, out, *more):
    """A long job in its tenth step or later, and its processes. Tried twice: PoCL now and then fails to compile into a cold cache."""
    for _ in range(2):
        shutil.rmtree(f"{scratch}/{out}", ignore_errors=True)
        job = start(MPIEXEC, 2, command(study, out, "--epochs", "100000", *more))
        began = time.time()
        while rows(out) < 10 and time.time() - began < 150 and job.poll() is None:
            time.sleep(0.02)
        found = rank_processes(f"{scratch}/{out}")
        if rows(out) >= 10 and len(found) == 2:
            return job, found
        job.kill()
    sys.exit(f"{out}: does not run: {found}, {job.stderr.read()}")


def ends_within(job, seconds):
    """The code, or None for a job that had to be ended."""
    try:
        return job.wait(seconds)
    except subprocess.TimeoutExpired:
        job.kill()
        job.wait()
        return None


def same():
    said = run("study", "first")
    need("hashes of all ranks are told", said.count("are the same on all 2 ranks, hash ") >= 2)
    need("the run is complete", os.path.exists(f"{scratch}/first/complete"))
    head = open(f"{scratch}/first/log.csv").readline()
    need("the log tells waits", head.endswith(",waits for network,waits for ranks,rank behind\n"))
    need("the rate is that of all tiles", open(f"{scratch}/first/log.csv").readlines()[1].split(",")[3] == "0.02")
    run("study", "second")
    need("the same job twice gives the same bytes", model("first") == model("second"))
    run("study", "resumed", "--max-steps", "7")
    run("study", "resumed", "--resume")
    need("a job that was cut in two gives the same bytes", model("first") == model("resumed"))
    run("study", "fewer", "--max-steps", "7")
    said = run("study", "fewer", "--resume", ranks=1)
    need("another number of ranks is told, and goes on with the batch", "begun with 2 ranks and goes on with 1, 4 tiles a step as before" in said)
    need("its log goes on", rows("fewer") == rows("first"))


def differ():
    for study, key in (("rate", "learning-rate=0.02"), ("classes", "class-list=Ground,Tissue,Tumor")):
        done = mpiexec(MPIEXEC, 2, [command("study", "differ"), command(study, "differ")])
        need(f"{study}: {done.stderr.strip()}", done.returncode == 2 and f"rank 0 has {key}" in done.stderr and "rank 1 has" in done.stderr)
        shutil.rmtree(f"{scratch}/differ")
    other = f"{scratch}/cdunet"
    shutil.copy(PROGRAM, other)
    with open(other, "ab") as file:
        file.write(b"x")
    one = command("study", "differ")
    for second, key in (([other, *one[1:]], "program"), ([*one, "--balance"], "balance")):
        done = mpiexec(MPIEXEC, 2, [one, second])
        need(f"{key}: {done.stderr.strip()}", done.returncode == 2 and re.search(f"^cdunet: rank 0 has {key}=\\S+, rank 1 has {key}=", done.stderr, re.M) and rows("differ") == 0)
        shutil.rmtree(f"{scratch}/differ")
    said = run("study", "shares", "--balance", "--shares", "3,1", code=2)
    need(said.strip(), "--balance" in said and "only one of the two" in said)
    said = run("study", "few", devices="opencl:0,opencl:0,opencl:0", code=2)
    need(said.strip(), "3 devices are named; 2 ranks" in said)
    said = run("study", "shares", "--shares", "3", code=2)
    need(said.strip(), "2 ranks need 2 numbers" in said)
    said = run("lone", "lone", "--max-steps", "1")
    need(f"what all ranks find wrong with the study is told once: {said.count('warning')} warnings", said.count("no slide is for validation") == 1 and "rank 1: warning" not in said)
    run("study", "shares", "--shares", "3,1", "--max-steps", "2")
    need("no step was made with settings that differ", rows("few") == 0)


def stall():
    job, found = started("long", "stall", "--deadline", str(DEADLINE))
    began = time.time()
    os.kill(found[1], signal.SIGSTOP)
    code = ends_within(job, DEADLINE + 10)
    took = time.time() - began
    need(f"a stalled rank ends all: code {code} after {took:.1f} s", code == 74 and took < DEADLINE + 6)  # 2 are promised; a busy machine may take longer
    need("nobody is left", not rank_processes(f"{scratch}/stall"))
    job, found = started("long", "slow", "--deadline", str(DEADLINE))
    os.kill(found[1], signal.SIGSTOP)
    time.sleep(DEADLINE / 2)
    os.kill(found[1], signal.SIGCONT)
    before = rows("slow")
    time.sleep(1)
    went_on = job.poll() is None and rows("slow") > before
    job.send_signal(signal.SIGTERM)
    ends_within(job, 20)
    need(f"a delay under the deadline passes: {job.stderr.read()[-300:]}", went_on)
    # the planted fault: a group that never gives up
    faulty = subprocess.run([MPIEXEC, "-n", "2", sys.argv[3], "mpi", "stall-without-deadline"], capture_output=True, text=True, timeout=60)
    need("a reduction without a deadline is found out", faulty.returncode == 1 and "not so" in faulty.stderr)


def die():
    for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT):
        job, found = started("long", "dead")
        began = time.time()
        code = None
        while code is None and time.time() - began < 20:  # what is sent once, not met by an instruction, LLVM in PoCL survives
            try:
                os.kill(found[1], number)
            except ProcessLookupError:
                pass
            try:
                code = job.wait(0.2)
            except subprocess.TimeoutExpired:
                pass
        took = time.time() - began
        need(f"a rank that dies of signal {number} ends all: code {code} after {took:.1f} s", code not in (0, None) and took < 5)
        need("nobody is left", not rank_processes(f"{scratch}/dead"))
    for number in (signal.SIGTERM, signal.SIGINT):
        job, found = started("long", "stopped")
        job.send_signal(number)
        ends_within(job, 20)
        said = job.stderr.read()
        need(f"signal {number} stops all ranks at one step, with a checkpoint", "stopped after step" in said and
             os.path.exists(f"{scratch}/stopped/checkpoint.safetensors") and not os.path.exists(f"{scratch}/stopped/complete"))
        need("nobody is left", not rank_processes(f"{scratch}/stopped"))
    full = f"{scratch}/full"
    os.mkdir(full)
    if os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "none", full], capture_output=True).returncode == 0:
        try:
            done = mpiexec(MPIEXEC, 2, command("study", "full/run"))
            need(f"a full disk: {done.stderr.strip().splitlines()[-1]}", done.returncode == 73 and not os.path.exists(full + "/run/complete"))
        finally:
            subprocess.run(["umount", "-l", full])


def shares(out):
    return re.search(rb'"shares":"([\d,]+)"', open(f"{scratch}/{out}/checkpoint.safetensors", "rb").read()).group(1).decode()


def balance():
    mixed = "vulkan:0" in subprocess.run([PROGRAM, "devices", "--no-test"], capture_output=True, text=True).stdout
    devices = "opencl:0,vulkan:0" if mixed else "opencl:0,opencl:0"
    said = run("study", "balanced", "--balance", "--max-steps", "4", devices=devices)
    told = re.findall(r"balance: rank (\d) on \S+ \((\w+:0).*\) does [\d.]+ tiles a second and gets (\d) of 4 tiles a step", said)
    need(f"shares are told, and stand in the checkpoint: {told}, {shares('balanced')}", [t[1] for t in told] == devices.split(",") and ",".join(t[2] for t in told) == shares("balanced"))
    need("all tiles are shared out, the more to the faster", sum(int(t[2]) for t in told) == 4 and (not mixed or told[0][2] == "3"))
    need("run.json has them", [(r["name"].startswith(f"rank {i} on "), str(r["tiles_a_step"])) for i, r in enumerate(json.load(open(f"{scratch}/balanced/run.json"))["ranks"])] == [(True, t[2]) for t in told])
    need("all ranks hold the same", "step 4: weights and momentum are the same on all 2 ranks" in said)
    run("study", "cut", "--shares", shares("balanced"), "--max-steps", "2", devices=devices)
    said = run("study", "cut", "--resume", "--max-steps", "4", devices=devices)
    need("a run with these shares that was cut in two keeps them and comes to the same bytes: measuring leaves no trace", shares("cut") == shares("balanced") and model("cut") == model("balanced"))
    if not mixed:
        return
    wide = ("--width", "16", "--exact-conv")  # much memory, and as much of it on either device

    def least(device, tiles):
        done = subprocess.run(command("lone", "memory", *wide, "--batch", str(tiles), "--memory", "1KiB", devices=device), capture_output=True, text=True)
        return int(re.search(r"need at least (\d+) MiB", done.stderr).group(1))
    limit, enough = least("opencl:0", 7) - 1, max(least("opencl:0", 4), least("vulkan:0", 4))
    need(f"{enough} MiB are enough for four tiles on each device, {limit} MiB too little for seven on the fast one", enough <= limit)
    said = run("lone", "capped", *wide, "--balance", "--batch", "4", "--memory", f"{limit}MiB", "--max-steps", "1", devices=devices)
    most = re.search("warning: balance: 7 tiles would suit the speed of rank 0 on .*, but its memory takes no more than ([456])", said)
    need(f"memory is told where it holds back a share: {shares('capped')}", most and shares("capped") == f"{most.group(1)},{8 - int(most.group(1))}")
    said = run("lone", "capped", *wide, "--batch", "4", "--balance", "--resume", "--max-steps", "2", devices=devices)
    need("shares that change when a run goes on are told", "--balance changed the shares that the run was begun with" in said and shares("capped") == "7,1")


def behind_column(out):
    return [line.rstrip("\n").split(",")[-1] for line in open(f"{scratch}/{out}/log.csv").readlines()[1:] if line.endswith("\n")]


def behind():
    os.environ["POCL_MAX_PTHREAD_COUNT"] = "1"  # a processor for each rank, as far as there is one
    job, found = started("long", "behind", "--threads", "1")
    time.sleep(9)  # what is usual is known after five, then some windows are judged
    even = behind_column("behind")
    need(f"nobody is behind in {len(even)} even steps", job.poll() is None and not any(even))
    began = time.time()
    while behind_column("behind")[-1] != "1" and time.time() - began < 40 and job.poll() is None:
        for number, seconds in ((signal.SIGSTOP, 0.08), (signal.SIGCONT, 0.02)):
            os.kill(found[1], number)
            time.sleep(seconds)
    took = time.time() - began
    while behind_column("behind")[-1] and time.time() - began < 60 and job.poll() is None:
        time.sleep(0.2)
    job.send_signal(signal.SIGTERM)
    ends_within(job, 20)
    said = job.stderr.read()
    lines = [line for line in said.splitlines() if "behind" in line or "keeps up" in line]
    need(f"a rank that works a fifth of the time is named once, after {took:.1f} s: {lines}", len(lines) == 2 and
         re.search(r"warning: step \d+: rank 1 on \S+ \(opencl:0: .*\) has fallen behind: its tiles take it [\d.]+ times as long", lines[0]) and
         re.search(r"step \d+: rank 1 on .* keeps up again", lines[1]))
    need("the log has it too", set(behind_column("behind")) == {"", "1"})


def lost():
    run("study", "whole")
    library = f"{os.path.dirname(PROGRAM)}/liblost_device.so"
    one = command("study", "lost")
    done = mpiexec(MPIEXEC, 2, [one, ["env", f"CDUNET_LIBOPENCL={library}", f"LOST_AFTER={LOST_AFTER}", *one]])
    need(f"a lost device ends all: code {done.returncode}: {[line for line in done.stderr.splitlines() if line.startswith('cdunet:')]}", done.returncode != 0 and
         re.search(r"^cdunet: rank 1: .*(is lost|lost or out of resources).*run again", done.stderr, re.M))
    need("nobody is left", nobody_left("lost"))
    need(f"after a checkpoint, in step {rows('lost')}", os.path.exists(f"{scratch}/lost/checkpoint.safetensors") and not os.path.exists(f"{scratch}/lost/complete"))
    said = run("study", "lost", "--resume")
    need("which is whole: the run goes on to the same bytes", "going on after step" in said and model("lost") == model("whole"))


with tempfile.TemporaryDirectory() as scratch:
    make_study(scratch)
    for part in sys.argv[4:]:
        {"same": same, "differ": differ, "stall": stall, "die": die, "balance": balance, "behind": behind, "lost": lost}[part]()
