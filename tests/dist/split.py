#!/usr/bin/python3
"""One batch on one device and split over ranks, unevenly: the same gradients and, after 20 steps, the same weights; the first step's gradients are
PyTorch's. With batch norm's statistics synchronized and local, with a tile that has no labelled pixel, on OpenCL and on OpenCL with Vulkan.
Then faults that must be found: gradients divided by each rank's own weights, and a bucket that one rank does not share.

Usage: split.py SOURCE BUILD MPIEXEC statistics|ranks|mixed|faults. Exits 77 without PyTorch.
"""
import os, subprocess, sys, tempfile
try:
    import numpy as np
    import torch, torch.nn.functional as F
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SOURCE, BUILD, MPIEXEC, PART = sys.argv[1:5]
sys.dont_write_bytecode = True
sys.path.insert(0, SOURCE + "/tests/parity")
sys.path.insert(0, SOURCE + "/tests/dist")
import network
from launch import ended, mpiexec, read_safetensors

torch.set_num_threads(1)
CASE = {"kind": "cdunet", "width": 4, "depth": 2, "order": "bn-relu", "cd_order": "bn-relu"}
SIZE, SEED, STEPS, RATE = 16, 3, 20, 0.00025  # the paper's rate for 4 tiles
WEIGHTS, GRADIENTS = 1e-5, 1e-4  # relative L2: of weights after 20 steps; of gradients, where rounding may tip a corner


def dump(name, shares, statistics="synchronized", fault="none", devices=None, environment=None, fails=False):
    """parity_dump's tensors; where it fails, the end, or with `fails` how it ended."""
    out, ranks = os.path.join(scratch, name), len(shares)
    command = [BUILD + "/parity_dump", devices or ",".join(["opencl:0"] * ranks), CASE["kind"], CASE["width"], CASE["depth"], sum(shares), SIZE,
               CASE["order"], CASE["cd_order"], "weights", "rgb", SEED, STEPS, RATE, out, ",".join(map(str, shares)), statistics, fault]
    done = mpiexec(MPIEXEC, ranks, command, environment)
    if done.returncode and not fails:
        sys.exit(f"{name}, {shares}: {ended(done)}")
    return ended(done) if done.returncode else read_safetensors(out)


def group(tensors, prefix):
    scale = tensors["scale"][0] if prefix == "gradient." and "scale" in tensors else 1
    return {k: v.astype(np.float64) * scale for k, v in tensors.items() if k.startswith(prefix)}


def distance(a, b):
    return (sum(((a[k] - b[k]) ** 2).sum() for k in a) / sum((a[k] ** 2).sum() for k in a)) ** 0.5


def torch_gradients(tensors, shares, synchronized):
    """Of the whole batch's loss; batch norm sees the whole batch or each rank's tiles."""
    net = network.Network(CASE).double().train()
    net.load_state_dict({k[8:]: torch.from_numpy(v).double() for k, v in tensors.items() if k.startswith("initial.")}, strict=False)
    image = torch.from_numpy(tensors["tiles"][..., :3] / 255).permute(0, 3, 1, 2)
    label, weight = torch.from_numpy(tensors["tiles"][..., 3].astype(np.int64)), torch.from_numpy(tensors["class_weight"]).double()
    parts = [image.shape[0]] if synchronized else shares
    logits = torch.cat([net(part) for part in image.split(list(parts))])
    F.cross_entropy(logits, label, weight=weight, ignore_index=255).backward()
    return {"gradient." + k: p.grad.numpy() for k, p in net.named_parameters()}


def check(what, far, limit, beyond=False):
    print(f"{what}: {far:.2g}, limit {limit:g}{' to be passed' if beyond else ''}")
    if (far > limit) != beyond or far != far:
        sys.exit(f"{what}: {far:.3g} is {'within' if beyond else 'beyond'} {limit:g}")


def compare(what, shares, statistics="synchronized", fault="none", devices=None, alone=None):
    ours = dump("ranks", shares, statistics, fault, devices)
    check(what + ", gradients against PyTorch's", distance(torch_gradients(ours, shares, statistics == "synchronized"), group(ours, "gradient.")), GRADIENTS)
    if alone:
        check(what + ", gradients against one device's", distance(group(alone, "gradient."), group(ours, "gradient.")), GRADIENTS)
        check(what + ", weights after 20 steps", distance(group(alone, "last."), group(ours, "last.")), WEIGHTS)
    return ours


with tempfile.TemporaryDirectory() as scratch:
    if PART == "statistics":
        alone = dump("alone", [4])
        compare("2 ranks, 3 and 1 tiles", [3, 1], alone=alone)
        compare("2 ranks, 1 and 3 tiles, local statistics", [1, 3], "local")
        excluded = dump("alone", [4], fault="excluded")
        compare("a rank whose only tile is excluded", [3, 1], fault="excluded", alone=excluded)
        compare("the same with local statistics", [3, 1], "local", "excluded")
        again = [dump("again", [3, 1]) for _ in range(2)]
        assert all((again[0][k] == again[1][k]).all() for k in again[0]), "the same job twice gives other bytes"
    elif PART == "ranks":
        alone = dump("alone", [5])
        compare("3 ranks, 2, 1 and 2 tiles", [2, 1, 2], alone=alone)
        compare("4 ranks, 2, 1, 1 and 1 tiles", [2, 1, 1, 1], alone=alone)
    elif PART == "mixed":
        alone = dump("alone", [4], fault="excluded")
        compare("OpenCL with 3 tiles, Vulkan with an excluded one", [3, 1], fault="excluded", devices="opencl:0,vulkan:0", alone=alone)
    elif PART == "faults":
        for _ in range(3):  # MPICH's Hydra now and then loses what a rank says just before it ends
            words = dump("lost", [2, 2], fault="missing-bucket", fails=True)
            if not (isinstance(words, str) and words.endswith("ranks: nothing")):
                break
        if not isinstance(words, str) or "of rank 1 is not that of rank 0" not in words:
            sys.exit(f"a bucket that rank 1 does not share was not found: {words if isinstance(words, str) else 'no failure'}")
        shaders = os.path.join(scratch, "shaders")
        os.mkdir(shaders)
        planted = 0
        for file in os.listdir(SOURCE + "/shaders"):
            text = open(os.path.join(SOURCE, "shaders", file), encoding="utf-8").read()
            changed = text.replace("p.several != 0u ? p.pixels : divisor", "divisor")
            planted += changed != text
            open(os.path.join(shaders, file), "w", encoding="utf-8").write(changed)
        assert planted == 1, "the fault could not be planted"
        ours = dump("means", [3, 1], environment={"CDUNET_SHADERS": shaders})
        ours["scale"][0] = 0.5  # each rank's gradient is a mean by now
        check("a mean of means", distance(torch_gradients(ours, [3, 1], True), group(ours, "gradient.")), 100 * GRADIENTS, True)
