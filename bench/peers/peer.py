"""What the peers' scripts share: their command line, the protocol of `cdunet-bench serve`, and the refusal of a slow BLAS.

A script offers works (step, infer, convs) under settings; main() either measures by itself or answers a line of JSON for each line read, so
that a driver can take turns between several programs. README.md beside this file has the protocol.
"""
import argparse, json, os, re, resource, statistics, sys, time

NO_PEER = 69  # exit code: the peer is not here


def missing(peer, how, why="", what="is not installed"):
    """Ends the script with one line that says what to install."""
    print(f"{peer} {what}{f' ({why})' if why else ''}: {how}", file=sys.stderr)
    sys.exit(NO_PEER)


def cache_folder():
    """Where converted models and built programs are kept."""
    base = os.environ.get("CDUNET_PEERS_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "cdunet-peers")
    os.makedirs(base, exist_ok=True)
    return base


def preload(library):
    """Runs this script again with the library preloaded, where it is not yet; returns whether it is."""
    if library in os.environ.get("LD_PRELOAD", ""):
        return True
    paths = [p for p in (f"/usr/lib/x86_64-linux-gnu/{library}", f"/usr/lib/aarch64-linux-gnu/{library}", f"/usr/lib64/{library}", f"/usr/lib/{library}")
             if os.path.exists(p)]
    if not paths:
        return False
    environment = dict(os.environ, LD_PRELOAD=":".join(filter(None, [os.environ.get("LD_PRELOAD"), paths[0]])))
    os.execve(sys.executable, [sys.executable] + sys.argv, environment)


def loaded_blas():
    """Names of the BLAS libraries in this process."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        found = {os.path.realpath(m.group(1)) for m in re.finditer(r"(/\S*(?:blas|mkl|atlas|blis)\S*\.so\S*)", maps.read())}
    return sorted(found)


def check_blas(gflops, threads, allowed):
    """Refuses a matrix product far below what any processor of today can do: the reference BLAS (1 to 2 GFLOP/s a thread)."""
    least = 8.0 * threads
    words = f"BLAS: {gflops:.0f} GFLOP/s of matrix products on {threads} threads ({', '.join(map(os.path.basename, loaded_blas())) or 'built in'})"
    if gflops >= least:
        return words, False
    words += f"; that is slow (below {least:.0f})"
    if not allowed:
        print(f"{words}: install libopenblas0-pthread, or look whether OPENBLAS_CORETYPE or other work holds it back; --slow-blas measures all the same", file=sys.stderr)
        sys.exit(NO_PEER)
    return words, True


def spread(numbers):
    return {"min": min(numbers), "median": statistics.median(numbers), "max": max(numbers)}


def parser(doc, works, settings):
    a = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("work", choices=works)
    a.add_argument("--size", type=int, default=512)
    a.add_argument("--batch", type=int, default=1)
    a.add_argument("--width", type=int, default=32)
    a.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    a.add_argument("--repeats", type=int, default=5)
    a.add_argument("--warm", type=int, default=2, help="runs before the first that counts")
    a.add_argument("--setting", default=settings[0], help="one of " + ", ".join(settings))
    a.add_argument("--slow-blas", action="store_true", help="measure with a slow BLAS, and say so")
    a.add_argument("--serve", action="store_true", help="one measurement for each line of input")
    a.add_argument("--json", action="store_true")
    return a


def timed(run):
    began = time.perf_counter()
    extra = run()
    return dict(extra or {}, seconds=extra["seconds"] if extra and "seconds" in extra else time.perf_counter() - began)


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve_or_measure(a, about, run):
    """about: peer, version, settings. run() does the work once; it may return numbers of its own, seconds among them."""
    for _ in range(a.warm):
        run()
    if a.serve:
        print(json.dumps(dict(about, ready=True)), flush=True)
        for _ in sys.stdin:
            print(json.dumps(timed(run)), flush=True)
        print(json.dumps({"peak_bytes": peak_bytes()}), flush=True)
        return
    times = [timed(run) for _ in range(a.repeats)]
    result = dict(about, work=a.work, size=a.size, batch=a.batch, width=a.width, threads=a.threads, repeats=a.repeats,
                  seconds=spread([t["seconds"] for t in times]), peak_bytes=peak_bytes())
    for key in times[0]:
        if key != "seconds":
            result[key] = spread([t[key] for t in times])
    if a.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{about['peer']} {about['version']}, {about['settings']}")
    s = result["seconds"]
    print(f"{a.work} {a.batch}x{a.size}x{a.size} width {a.width}: min {s['min']:.4f} median {s['median']:.4f} max {s['max']:.4f} s, "
          f"peak {result['peak_bytes'] / 2**30:.2f} GiB")
