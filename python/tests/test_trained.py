"""What `gradflow train` writes, read by others: the same predictions from ONNX as from the program."""

import subprocess

import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime", reason="no onnxruntime here: its reading of ONNX was left out")


@pytest.mark.parametrize("network", ["relu:16x2", "gelu:8x1", "tanh:8x2", "erf:8x1",
                                     "dense:8 layernorm:affine relu res(dense:6 sin dense:8) dense:1"])
def test_a_runtime_predicts_the_same_from_the_onnx_file(network, tmp_path, program):
    random = np.random.default_rng(1)
    X = random.normal(size=(60, 3)) * [1.0, 20.0, 0.1] + [0.0, 5.0, 0.0]
    y = 100.0 + 30.0 * np.sin(X[:, 0]) + X[:, 1] + random.normal(size=60)
    np.savetxt(tmp_path / "data.csv", np.column_stack([X, y]), delimiter=",", header="a,b,c,y", comments="")

    def run(*arguments):
        subprocess.run([program, *arguments], cwd=tmp_path, check=True, capture_output=True)

    run("train", "data.csv", "--target", "y", "--network", network, "--steps", "40", "-o", "w.safetensors",
        "--onnx", "w.onnx")
    run("predict", "w.safetensors", "data.csv", "-o", "p.csv")
    session = onnxruntime.InferenceSession(str(tmp_path / "w.onnx"), providers=["CPUExecutionProvider"])
    (response,) = session.run(None, {"features": X.astype(np.float32)})

    expected = np.genfromtxt(tmp_path / "p.csv", delimiter=",", skip_header=1)[:, 1]
    assert np.max(np.abs(response[:, 0] - expected)) < 1e-5 * np.max(np.abs(expected))


@pytest.mark.parametrize("network", ["tanh:8x2", "conv2d:4:3 relu res(conv2d:4:3) avgpool dense:3"])
def test_of_classes_a_runtime_gives_the_same_probabilities(network, tmp_path, program):
    random = np.random.default_rng(2)
    classes = np.arange(60) % 3
    X = 5.0 + 0.5 * random.normal(size=(60, 1, 6, 6)) + classes[:, None, None, None]
    if not network.startswith("conv"):
        X = X.reshape(60, 36)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", classes.astype(float))

    def run(*arguments):
        subprocess.run([program, *arguments], cwd=tmp_path, check=True, capture_output=True)

    run("train", "--features", "X.npy", "--response", "y.npy", "--classes", "--network", network, "--optimizer", "adam",
        "--lr", "0.01", "--steps", "60", "-o", "w.safetensors", "--onnx", "w.onnx")
    run("predict", "w.safetensors", "--features", "X.npy", "-o", "p.csv")
    session = onnxruntime.InferenceSession(str(tmp_path / "w.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"features": X.astype(np.float32)})

    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    given = np.genfromtxt(tmp_path / "p.csv", delimiter=",", skip_header=1)[:, 2:]
    assert np.max(np.abs(p - given)) < 1e-5
