#!/usr/bin/env python3
"""The paper's CD-UNET in PyTorch on a CPU: a training step (step) or an inference (infer) of exactly the network that cdunet trains.

The PyTorch is that of the Python which runs this: /usr/bin/python3 for Debian's python3-torch, an environment of its own for the newest.
A setting is LAYOUT:FORM[:malloc|:cuda]: nhwc (channels last) or nchw; eager, compile, or frozen (inference: traced, batch norm folded). tcmalloc is
preloaded where it is installed (Debian: libtcmalloc-minimal4), unless the setting ends with :malloc. :cuda computes on a GPU, TF32 off; its peak
of memory is the GPU's.
"""
import os, sys, time

sys.dont_write_bytecode = True
import peer

FORMS = {"step": ("eager", "compile"), "infer": ("eager", "frozen", "compile")}
SETTINGS = [f"{layout}:{form}{end}" for layout in ("nhwc", "nchw") for form in ("eager", "compile", "frozen") for end in ("", ":malloc", ":cuda")]


def matrix_gflops(torch):
    a = torch.rand(1024, 1024)
    best = 1e9
    for _ in range(4):
        began = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - began)
    return 2 * 1024 ** 3 / best * 1e-9


def make_run(torch, a, layout, form, device):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "parity"))
    from network import Network
    import torch.nn.functional as F
    torch.manual_seed(1)
    order = torch.channels_last if layout == "nhwc" else torch.contiguous_format
    net = Network(dict(kind="cdunet", width=a.width, depth=5, order="bn-relu", cd_order="bn-relu"), in_place=True).to(device, memory_format=order)
    x = torch.rand(a.batch, 3, a.size, a.size).to(device).contiguous(memory_format=order)
    if a.work == "infer":
        net = net.eval()
        if form == "frozen":
            with torch.no_grad():
                net = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(net, x)))
        elif form == "compile":
            import torch._inductor.config as config
            config.freezing = True
            net = torch.compile(net)

        def run():
            with torch.no_grad():
                net(x).softmax(1)
        return run
    label = torch.randint(0, 4, (a.batch, a.size, a.size)).to(device)
    weight = torch.ones(4, device=device)
    try:
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, fused=True)
    except TypeError:  # older ones have no fused update
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    net.train()
    step_net = torch.compile(net) if form == "compile" else net

    def run():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(step_net(x), label, weight=weight, ignore_index=255).backward()
        optimizer.step()
    return run


def main():
    a = peer.parser(__doc__, ["step", "infer"], SETTINGS).parse_args()
    words = a.setting.split(":")
    if a.setting not in SETTINGS or words[1] not in FORMS[a.work]:
        sys.exit(f"pytorch: there is no setting '{a.setting}' for {a.work}; forms are {', '.join(FORMS[a.work])}")
    allocator = "malloc" if words[-1] == "malloc" else "tcmalloc" if peer.preload("libtcmalloc_minimal.so.4") else "malloc (tcmalloc is not installed: libtcmalloc-minimal4)"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(peer.cache_folder(), "inductor"))
    try:
        import torch
    except ImportError as why:
        peer.missing("PyTorch", f"pip install torch, or apt install python3-torch for {sys.executable}", why)
    if words[1] == "compile" and not hasattr(torch, "compile"):
        peer.missing("torch.compile", "take another form", f"PyTorch {torch.__version__} is too old", "is not there")
    device = "cuda" if words[-1] == "cuda" else "cpu"
    if device == "cuda":
        if not torch.cuda.is_available():
            peer.missing("A GPU that PyTorch can use", "take a setting without :cuda", f"PyTorch {torch.__version__} sees none", "is not there")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        allocator = f"{torch.cuda.get_device_name()}, TF32 off"
    torch.set_num_threads(a.threads)
    blas, slow = peer.check_blas(matrix_gflops(torch), a.threads, a.slow_blas)
    about = {"peer": "PyTorch", "version": torch.__version__, "setting": a.setting,
             "settings": f"{a.setting}, {allocator}, {a.threads} threads, oneDNN {'on' if torch.backends.mkldnn.is_available() else 'off'}, {blas}"}
    if slow:
        about["slow_blas"] = True
    run = make_run(torch, a, words[0], words[1], device)
    if device == "cpu":
        peer.serve_or_measure(a, about, run)
        return

    def run_to_the_end():
        run()
        torch.cuda.synchronize()
    peer.peak_bytes = torch.cuda.max_memory_reserved
    peer.serve_or_measure(a, about, run_to_the_end)


main()
