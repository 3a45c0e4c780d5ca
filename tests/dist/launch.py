"""Starts programs under mpiexec for the tests of several ranks, with a cache of compiled kernels for each rank, since two processes in one cold cache of
PoCL's can end each other; reads what they wrote."""
import json, os, struct, subprocess
import numpy as np

TYPES = {"F32": np.float32, "I64": np.int64, "U64": np.uint64, "U8": np.uint8}
OWN_CACHE = 'export POCL_CACHE_DIR="$POCL_CACHE_DIR-$PMI_RANK"; mkdir -p "$POCL_CACHE_DIR"; exec "$0" "$@"'


def words(program, ranks, command):
    """The whole command line. `command` may be a list of commands, one for each rank."""
    commands = command if isinstance(command[0], list) else [command]
    line = [program]
    for i, one in enumerate(commands):
        line += ([":"] if i else []) + ["-n", str(ranks if len(commands) == 1 else 1), "sh", "-c", OWN_CACHE] + [str(w) for w in one]
    return line


def mpiexec(program, ranks, command, environment=None, timeout=200):
    return subprocess.run(words(program, ranks, command), env={**os.environ, **(environment or {})}, capture_output=True, text=True, timeout=timeout)


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
