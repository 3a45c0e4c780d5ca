#!/usr/bin/env python3
"""Inference of the paper's CD-UNET in ONNX Runtime on a CPU (infer). Settings: default."""
import sys

sys.dont_write_bytecode = True
import peer
from exported import onnx_file


def main():
    a = peer.parser(__doc__, ["infer"], ["default"]).parse_args()
    try:
        import numpy
        import onnxruntime
    except ImportError as why:
        peer.missing("ONNX Runtime", f"pip install onnxruntime for {sys.executable}", why)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = a.threads
    session = onnxruntime.InferenceSession(onnx_file(a), options, providers=["CPUExecutionProvider"])
    x = numpy.random.default_rng(1).random((a.batch, 3, a.size, a.size), numpy.float32)
    about = {"peer": "ONNX Runtime", "version": onnxruntime.__version__, "setting": "default", "settings": f"CPU provider, all optimizations, {a.threads} threads"}

    def run():
        session.run(None, {"x": x})
    peer.serve_or_measure(a, about, run)


main()
