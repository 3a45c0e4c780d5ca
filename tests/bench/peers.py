#!/usr/bin/python3
"""The peers' scripts without the peers: all of them compile, a slow BLAS is refused with words, the protocol is kept, the table of targets tells what
could not be measured. Usage: peers.py SOURCE"""
import json, os, subprocess, sys, tempfile

sys.dont_write_bytecode = True
SOURCE = sys.argv[1]
PEERS = os.path.join(SOURCE, "bench", "peers")
sys.path.insert(0, PEERS)


def python(text, *arguments, **more):
    return subprocess.run([sys.executable, "-B", "-c", text, *arguments], capture_output=True, text=True, cwd=PEERS, **more)


def scripts_compile():
    names = [os.path.join(PEERS, n) for n in sorted(os.listdir(PEERS)) if n.endswith(".py")] + [os.path.join(SOURCE, "bench", "targets.py")]
    assert len(names) >= 9, names
    for name in names:
        with open(name, encoding="utf-8") as file:
            compile(file.read(), name, "exec")


def slow_blas_is_refused():
    got = python("import peer; peer.check_blas(4.0, 2, False); print('ran')")
    assert got.returncode == 69 and not got.stdout and got.stderr.count("\n") == 1, (got.stdout, got.stderr)
    assert "4 GFLOP/s" in got.stderr and "libopenblas0-pthread" in got.stderr and "--slow-blas" in got.stderr, got.stderr
    got = python("import peer; print(peer.check_blas(4.0, 2, True))")
    assert "True" in got.stdout and "slow" in got.stdout, got
    got = python("import peer; print(peer.check_blas(400.0, 2, False))")
    assert "False" in got.stdout and "slow" not in got.stdout, got


def protocol_is_kept():
    text = "import peer, sys; a = peer.parser('', ['step'], ['x']).parse_args(); peer.serve_or_measure(a, {'peer': 'p', 'version': '1', 'settings': 's'}, lambda: {'more': 2})"
    got = python(text, "step", "--serve", input="run\nrun\n")
    lines = [json.loads(line) for line in got.stdout.splitlines()]
    assert len(lines) == 4 and lines[0]["ready"] and lines[1]["seconds"] > 0 and lines[2]["more"] == 2 and lines[3]["peak_bytes"] > 1 << 20, got
    got = python(text, "step", "--json", "--repeats", "3")
    result = json.loads(got.stdout)
    assert result["seconds"]["min"] <= result["seconds"]["median"] <= result["seconds"]["max"] and result["repeats"] == 3, got


def a_peer_that_is_missing_is_one_row():
    """Fakes instead of cdunet-bench and Python: ours always answers, the peer never starts."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("cdunet-bench", "#!/bin/sh\necho '{\"ready\": true, \"gflop\": 100, \"planned_bytes\": 1}'\nwhile read -r line; do echo '{\"seconds\": 0.5, \"fma_gflops\": 100, \"copy_gbytes\": 1}'; done\n"
                            "echo '{\"peak_bytes\": 1000}'\n"), ("python", "#!/bin/sh\necho 'the peer is not installed: install it' >&2\nexit 69\n")):
            path = os.path.join(folder, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(path, 0o755)
        table = os.path.join(folder, "table.json")
        got = subprocess.run([sys.executable, "-B", os.path.join(SOURCE, "bench", "targets.py"), "--quick", "--build", folder, "--python", os.path.join(folder, "python"), "--rounds", "2",
                              "--only", "rate,convs,batch", "--json", table], capture_output=True, text=True)
        assert got.returncode == 0, got
        with open(table, encoding="utf-8") as file:
            rows = {row["figure"]: row for row in json.load(file)["rows"]}
        assert rows["the same step, GFLOP/s over the multiply-add peak"]["ratio"] == 2.0, rows
        assert rows["batch 4 against batch 1, per tile"]["ratio"] == 4.0, rows
        assert rows["all 3x3 layers, three passes, against oneDNN per layer in its own layouts"]["reached"] == "not measured" and "not measured" in got.stdout, got.stdout
        assert "note: the peer is not installed: install it" in got.stdout, got.stdout
        got = subprocess.run([sys.executable, "-B", os.path.join(SOURCE, "bench", "targets.py"), "--build", folder, "--only", "speed"], capture_output=True, text=True)
        assert got.returncode == 1 and got.stderr.count("\n") == 1 and "there is no row 'speed'" in got.stderr, got


for check in (scripts_compile, slow_blas_is_refused, protocol_is_kept, a_peer_that_is_missing_is_one_row):
    check()
    print(f"{check.__name__}: passed")
