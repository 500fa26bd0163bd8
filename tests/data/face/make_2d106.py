#!/usr/bin/python3
"""Makes 2d106_formula.onnx.gz, a network of the structure and names of InsightFace's 2d106det (a
MobileNetV1 of half width, exported by MXNet) with weights from a formula, and 2d106.safetensors:
what PyTorch computes for the picture that test_face_detect computes.

Weights have few bits, so that the file compresses well; the statistics of the normalisations are
about those of the picture, so that activations stay near 1.
"""

import gzip
import os

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

from make_goldens import picture
from safetensors_file import save

EPSILON = 1e-3
# width and stride of the pointwise units; each has a depthwise unit before it that strides
PAIRS = [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1), (256, 1),
         (256, 1), (256, 1), (512, 2), (512, 1)]


def levels(rng, shape, deviation):
    """Gaussian, in multiples of a power of two."""
    step = 2.0 ** np.floor(np.log2(deviation / 12))
    return (np.round(rng.normal(0, deviation, shape) / step) * step).astype(np.float32)


def between(rng, shape, low, high):
    return (np.round(rng.uniform(low, high, shape) * 64) / 64).astype(np.float32)


class Network:
    def __init__(self, x):
        self.rng = np.random.default_rng(106)
        self.nodes, self.tensors, self.top = [], {}, "data"
        self.x = x  # what PyTorch has at the top

    def param(self, name, value):
        self.tensors[name] = value
        return torch.from_numpy(value).double()

    def node(self, op, name, inputs, **attributes):
        self.nodes.append(helper.make_node(op, [self.top] + inputs, [name], name=name,
                                           **attributes))
        self.top = name

    def unit(self, name, cin, cout, kernel, stride, group):
        """Conv, BatchNormalization, PRelu."""
        pad = kernel // 2
        fan_in = cin // group * kernel * kernel
        conv, bn, act = name + "_conv2d", name + "_batchnorm", name + "_relu"
        w = self.param(conv + "_weight",
                       levels(self.rng, (cout, cin // group, kernel, kernel), fan_in ** -0.5))
        self.node("Conv", conv, [conv + "_weight"], dilations=[1, 1], group=group,
                  kernel_shape=[kernel] * 2, pads=[pad] * 4, strides=[stride] * 2)
        x = F.conv2d(self.x, w, None, stride, pad, 1, group)
        mean = np.round(x.mean((0, 2, 3)).numpy() * 64) / 64
        var = np.round(x.var((0, 2, 3)).numpy() * 64 + 1) / 64
        stats = [between(self.rng, cout, 0.75, 1.25), between(self.rng, cout, -0.5, 0.5),
                 mean.astype(np.float32), var.astype(np.float32)]
        names = [bn + s for s in ("_gamma", "_beta", "_moving_mean", "_moving_var")]
        gamma, beta, mean, var = (self.param(n, v) for n, v in zip(names, stats))
        self.node("BatchNormalization", bn, names, epsilon=EPSILON, momentum=0.9)
        x = F.batch_norm(x, mean, var, gamma, beta, False, 0, EPSILON)
        slope = self.param(act + "_gamma", between(self.rng, (cout, 1, 1), 0.05, 0.5))
        self.node("PRelu", act, [act + "_gamma"])
        self.x = F.prelu(x, slope.flatten())
        print("%-10s %4d x %3d x %3d  rms %.2f" % (name, *self.x.shape[1:],
                                                  self.x.square().mean().sqrt()))


def build(x):
    n = Network(x)
    # the scalars of MXNet's operators
    n.param("scalar_op1", np.array([127.5], np.float32))
    n.node("Sub", "_minusscalar0", ["scalar_op1"])
    n.param("scalar_op2", np.array([0.0078125], np.float32))
    n.node("Mul", "_mulscalar0", ["scalar_op2"])
    n.x = (n.x - 127.5) * 0.0078125
    n.unit("conv_1", 3, 16, 3, 2, 1)
    cin = 16
    for i, (cout, stride) in enumerate(PAIRS):
        n.unit("conv_%d_dw" % (i + 2), cin, cin, 3, stride, cin)
        n.unit("conv_%d" % (i + 2), cin, cout, 1, 1, 1)
        cin = cout
    n.unit("conv_15", cin, 64, 3, 2, 1)
    n.node("Flatten", "flatten0", [], axis=1)
    w = n.param("fc1_weight", levels(n.rng, (212, 576), 0.3 * 576 ** -0.5))
    b = n.param("fc1_bias", between(n.rng, 212, -0.25, 0.25))
    n.node("Gemm", "fc1", ["fc1_weight", "fc1_bias"], alpha=1.0, beta=1.0, transA=0, transB=1)
    n.x = F.linear(n.x.flatten(1), w, b)
    return n


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    # the network takes B, G, R of the test's R, G, B
    planes = np.ascontiguousarray(picture(192, 192)[:, :, ::-1].transpose(2, 0, 1))[None]
    n = build(torch.from_numpy(planes).double())
    info = helper.make_tensor_value_info
    inputs = [info("data", TensorProto.FLOAT, ["None", 3, 192, 192])]
    inputs += [info(k, TensorProto.FLOAT, list(v.shape)) for k, v in n.tensors.items()]
    graph = helper.make_graph(n.nodes, "mxnet_converted_model", inputs,
                              [info("fc1", TensorProto.FLOAT, [1, 212])],
                              [numpy_helper.from_array(v, k) for k, v in n.tensors.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    onnx.checker.check_model(model)
    with open(os.path.join(here, "2d106_formula.onnx.gz"), "wb") as f:
        f.write(gzip.compress(model.SerializeToString(), 9, mtime=0))
    out = n.x.numpy().reshape(-1)
    print("output: rms %.3f, largest %.3f" % (np.sqrt((out ** 2).mean()), np.abs(out).max()))
    save(os.path.join(here, "2d106.safetensors"), {"fc1": out})


if __name__ == "__main__":
    main()
