"""The network as an ONNX file, exported by PyTorch, for the runtimes that read it. Kept in the cache folder."""
import os, sys

import peer


def onnx_file(a):
    path = os.path.join(peer.cache_folder(), f"cdunet-{a.width}-{a.batch}x{a.size}.onnx")
    if os.path.exists(path):
        return path
    try:
        import torch
        import onnx  # noqa: F401: what the export needs
    except ImportError as why:
        peer.missing("What exports the network", f"pip install torch onnx onnxscript for {sys.executable}", why)
    torch.manual_seed(1)
    x = torch.rand(a.batch, 3, a.size, a.size)
    torch.onnx.export(with_softmax(a.width).eval(), (x,), path + ".new", input_names=["x"], output_names=["y"], dynamo=False)
    os.rename(path + ".new", path)
    return path


def with_softmax(width):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "parity"))
    import torch
    from network import Network

    class WithSoftmax(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Network(dict(kind="cdunet", width=width, depth=5, order="bn-relu", cd_order="bn-relu"), in_place=True)

        def forward(self, x):
            return self.net(x).softmax(1)
    return WithSoftmax()
