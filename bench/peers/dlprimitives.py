#!/usr/bin/env python3
"""A training step or an inference of the paper's CD-UNET through dlprimitives' backend for PyTorch, on an OpenCL device.

dlprimitives is in no package registry: it is built from its sources against PyTorch, and gives a module pytorch_ocl. Where that module is not
there this script says so.
"""
import os, sys

sys.dont_write_bytecode = True
import peer


def main():
    parser = peer.parser(__doc__, ["step", "infer"], ["default"])
    parser.add_argument("--device", help="as the backend calls it: ocl:0, or privateuseone:0 with PyTorch 1.13, unless given")
    a = parser.parse_args()
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the backend tells its device on standard output, which is the protocol's
    try:
        import torch
        import pytorch_ocl  # noqa: F401: brings the devices
    except ImportError as why:
        peer.missing("dlprimitives", "it is in no package registry: build its backend for PyTorch (artyom-beilis/pytorch_dlprim) from source and put "
                     "pytorch_ocl into PYTHONPATH", why)
    import torch.nn.functional as F
    a.device = a.device or ("privateuseone:0" if torch.__version__.startswith("1.") else "ocl:0")
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "parity"))
    from network import Network
    net = Network(dict(kind="cdunet", width=a.width, depth=5, order="bn-relu", cd_order="bn-relu")).to(a.device)
    x = torch.rand(a.batch, 3, a.size, a.size).to(a.device)
    label = torch.randint(0, 4, (a.batch, a.size, a.size)).to(a.device)
    net = net.train() if a.work == "step" else net.eval()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def run():
        if a.work == "infer":
            with torch.no_grad():
                net(x).to("cpu")
            return
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), label)
        loss.backward()
        optimizer.step()
        loss.item()
    about = {"peer": "dlprimitives", "version": getattr(pytorch_ocl, "__version__", "built from source"), "setting": "default",
             "settings": f"PyTorch {torch.__version__}, {a.device}"}
    peer.serve_or_measure(a, about, run)


main()
