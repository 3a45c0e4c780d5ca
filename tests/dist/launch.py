"""Starts programs under mpiexec for the tests of several ranks, tells how a job ended, reads what it wrote."""
import json, os, struct, subprocess
import numpy as np

TYPES = {"F32": np.float32, "I64": np.int64, "U64": np.uint64, "U8": np.uint8}


def words(program, ranks, command):
    """The whole command line. `command` may be a list of commands, one for each rank."""
    commands = command if isinstance(command[0], list) else [command]
    line = [program]
    for i, one in enumerate(commands):
        line += ([":"] if i else []) + ["-n", str(ranks if len(commands) == 1 else 1)] + [str(w) for w in one]
    return line


def mpiexec(program, ranks, command, environment=None, timeout=200):
    return subprocess.run(words(program, ranks, command), env={**os.environ, **(environment or {})}, capture_output=True, text=True, timeout=timeout)


def ended(done):
    """How a job of mpiexec() ended: a rank that crashes says nothing itself, mpiexec tells its signal on standard output."""
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
    return f"{how}; mpiexec: {done.stdout[-1500:].strip() or 'nothing'}; ranks: {done.stderr.strip() or 'nothing'}"


def start(program, ranks, command, environment=None):
    return subprocess.Popen(words(program, ranks, command), env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True)


def read_safetensors(path):
    data = open(path, "rb").read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data[8 + length + e["data_offsets"][0]:8 + length + e["data_offsets"][1]], TYPES[e["dtype"]]).reshape(e["shape"]).copy()
            for name, e in header.items()}
