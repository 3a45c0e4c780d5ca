#!/usr/bin/env python3
"""Inference of the paper's CD-UNET in ncnn on a Vulkan device (infer), by default lavapipe, in f32.

The network is converted by pnnx, which needs PyTorch, and kept in the cache folder. Settings: winograd, direct.
"""
import contextlib, os, sys

sys.dont_write_bytecode = True
import peer

SETTINGS = ["winograd", "direct"]


def converted(a):
    base = os.path.join(peer.cache_folder(), f"cdunet_{a.width}_{a.batch}x{a.size}")
    if not os.path.exists(base + ".ncnn.bin"):
        try:
            import pnnx
            import torch
        except ImportError as why:
            peer.missing("What converts the network for ncnn", f"pip install torch pnnx for {sys.executable}", why)
        from exported import with_softmax
        torch.manual_seed(1)
        with contextlib.redirect_stdout(sys.stderr):
            pnnx.export(with_softmax(a.width).eval(), base + ".pt", torch.rand(a.batch, 3, a.size, a.size))
    return base


def main():
    parser = peer.parser(__doc__, ["infer"], SETTINGS)
    parser.add_argument("--device", default="llvmpipe", help="part of the Vulkan device's name")
    a = parser.parse_args()
    if a.setting not in SETTINGS:
        sys.exit(f"ncnn_vulkan: there is no setting '{a.setting}'; there are {', '.join(SETTINGS)}")
    try:
        import ncnn
        import numpy
    except ImportError as why:
        peer.missing("ncnn", f"pip install ncnn for {sys.executable}", why)
    ncnn.create_gpu_instance()
    names = [ncnn.get_gpu_info(i).device_name() for i in range(ncnn.get_gpu_count())]
    found = [i for i, name in enumerate(names) if a.device.lower() in name.lower()]
    if not found:
        peer.missing(f"A Vulkan device called {a.device}", f"ncnn sees {', '.join(names) or 'none'}; Debian: mesa-vulkan-drivers")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = True
    net.opt.num_threads = a.threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    net.opt.use_winograd_convolution = a.setting == "winograd"
    net.set_vulkan_device(found[0])
    base = converted(a)
    if net.load_param(base + ".ncnn.param") or net.load_model(base + ".ncnn.bin"):
        sys.exit(f"ncnn_vulkan: {base}.ncnn.param cannot be read; remove it, it is made again")
    x = numpy.random.default_rng(1).random((3, a.size, a.size), numpy.float32)

    def run():
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(x))
        status, y = extractor.extract("out0")
        total = float(numpy.array(y).sum())
        if status or abs(total / a.size ** 2 - 1) > 1e-3:
            sys.exit(f"ncnn_vulkan: the probabilities of a pixel sum to {total / a.size ** 2:.3f} instead of 1")
    about = {"peer": "ncnn", "version": getattr(ncnn, "__version__", "?"), "setting": a.setting, "settings": f"Vulkan, {names[found[0]]}, {a.setting}, f32"}
    peer.serve_or_measure(a, about, run)
    sys.stdout.flush()
    os._exit(0)  # ncnn's own end may crash in the driver


main()
