#!/usr/bin/env python3
"""Inference of the paper's CD-UNET in OpenVINO on a CPU (infer), in f32. Settings: latency, throughput."""
import sys

sys.dont_write_bytecode = True
import peer
from exported import onnx_file

SETTINGS = ["latency", "throughput"]


def main():
    a = peer.parser(__doc__, ["infer"], SETTINGS).parse_args()
    try:
        import numpy
        import openvino
    except ImportError as why:
        peer.missing("OpenVINO", f"pip install openvino for {sys.executable}", why)
    if a.setting not in SETTINGS:
        sys.exit(f"open_vino: there is no setting '{a.setting}'; there are {', '.join(SETTINGS)}")
    core = openvino.Core()
    model = core.compile_model(core.read_model(onnx_file(a)), "CPU", {
        "INFERENCE_NUM_THREADS": a.threads, "PERFORMANCE_HINT": a.setting.upper(), "INFERENCE_PRECISION_HINT": "f32"})
    request = model.create_infer_request()
    x = numpy.random.default_rng(1).random((a.batch, 3, a.size, a.size), numpy.float32)
    about = {"peer": "OpenVINO", "version": openvino.__version__.split("-")[0], "setting": a.setting, "settings": f"{a.setting}, f32, {a.threads} threads"}

    def run():
        request.infer({0: x})
    peer.serve_or_measure(a, about, run)


main()
