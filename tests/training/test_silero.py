"""Silero VAD as one graph: the golden values of its own structure, and the exported file against it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from emoser.diarization import activity
from training.encoders import silero
from training.encoders.lstm import LSTM
from training.encoders.silero import CHUNK, CONTEXT, WIDTH, SileroVAD
from training.paths import WEIGHTS, weights_root


@pytest.fixture(scope="module")
def weights_file() -> Path:
    root = weights_root()
    path = None if root is None else root / WEIGHTS["silero-vad"].file
    if path is None or not path.is_file():
        pytest.skip("needs the weights silero-vad (EMOSER_WEIGHTS)")
    return path


def blocks(waveform: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.pad(waveform, (CONTEXT, -len(waveform) % CHUNK)))


def start() -> torch.Tensor:
    return torch.zeros(2, 1, WIDTH)


def test_golden(weights_file: Path, tone: np.ndarray) -> None:
    model = SileroVAD().load_silero(weights_file).eval()
    with torch.no_grad():
        probabilities, _ = model(blocks(tone), start())
    expected = [0.343399, 0.478211, 0.317967, 0.125554, 0.061612, 0.051179, 0.062918, 0.07097]
    np.testing.assert_allclose(probabilities[:8].numpy(), expected, atol=2e-6)
    assert probabilities.mean().item() == pytest.approx(0.028, abs=5e-4)


def test_one_pass_equals_the_original_chunk_by_chunk() -> None:
    """The original's loop, written out: one cell step a chunk, on random weights."""
    torch.manual_seed(0)
    model = SileroVAD().eval().requires_grad_(False)
    cell = torch.nn.LSTMCell(WIDTH, WIDTH)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in model.lstm.state_dict().items()})
    samples = torch.randn(CONTEXT + 9 * CHUNK)
    state = torch.randn(2, 1, WIDTH)
    probabilities, after = model(samples, state)
    hidden, memory = state
    for number, probability in enumerate(probabilities):
        x = samples[None, None, number * CHUNK : (number + 1) * CHUNK + CONTEXT]
        x = torch.cat([x, x.flip(2)[:, :, 1:65]], dim=2)
        spectrum = model.stft_conv(x)
        x = torch.hypot(spectrum[:, :129], spectrum[:, 129:])
        for conv in (model.conv1, model.conv2, model.conv3, model.conv4):
            x = torch.relu(conv(x))
        assert x.shape == (1, WIDTH, 1)
        hidden, memory = cell(x[:, :, 0], (hidden, memory))
        torch.testing.assert_close(torch.sigmoid(model.final_conv(hidden.relu()[:, :, None]))[0, 0, 0], probability)
    torch.testing.assert_close(after, torch.stack([hidden, memory]))


@pytest.mark.filterwarnings("ignore")
def test_export(weights_file: Path, tone: np.ndarray, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "deeper" / "silero-vad.onnx"
    silero.export(weights_file, path)
    content = path.read_bytes()
    assert 500_000 < len(content) < 700_000
    assert b".py" not in content, "the exporter's stack traces name files of the machine"
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    inside = json.loads(session.get_modelmeta().custom_metadata_map["emoser"])
    assert inside["license"] == "MIT" and "Silero Team" in inside["notice"]
    assert (inside["chunk"], inside["context"]) == (activity.CHUNK, activity.CONTEXT)
    model = SileroVAD().load_silero(weights_file).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.numel() > 1:  # a single number is kept as it is
            parameter.copy_(parameter.half())  # as stored
    state = start()
    for samples in (blocks(tone), blocks(tone[: 3 * CHUNK]), blocks(tone[:CHUNK])):
        probabilities, after = session.run(None, {"samples": samples.numpy(), "state": state.numpy()})
        expected, state_after = model(samples, state)
        np.testing.assert_allclose(probabilities, expected.numpy(), atol=1e-5)
        np.testing.assert_allclose(after, state_after.numpy(), rtol=1e-4, atol=1e-4)
        state = state_after
    # What ships is what this makes, whatever version of the exporter wrote it.
    shipped = onnxruntime.InferenceSession(activity.bundled_file(), providers=["CPUExecutionProvider"])
    feed = {"samples": blocks(tone).numpy(), "state": start().numpy()}
    np.testing.assert_allclose(session.run(None, feed)[0], shipped.run(None, feed)[0], atol=1e-6)


def test_lstm_is_the_library_s() -> None:
    torch.manual_seed(0)
    ours, theirs = LSTM(5, 7), torch.nn.LSTM(5, 7, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x, state = torch.randn(3, 4, 5), (torch.randn(1, 3, 7), torch.randn(1, 3, 7))
    torch.testing.assert_close(ours(x, state), theirs(x, state))
    torch.testing.assert_close(ours(x), theirs(x))


def test_weights_are_rounded_once_and_traces_dropped() -> None:
    from onnx import TensorProto, helper, numpy_helper

    weight = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], doc_string="File made.py, line 1")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", ["n", 3]), ("y", ["n", 4]))]
    model = helper.make_model(helper.make_graph([node], "g", ports[:1], ports[1:], [numpy_helper.from_array(weight, "w")]))
    silero.store_as_half(model)
    silero.strip_traces(model)
    assert [tensor.data_type for tensor in model.graph.initializer] == [TensorProto.FLOAT16]
    np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), weight.astype(np.float16))
    assert [(node.op_type, node.output[0], node.doc_string) for node in model.graph.node] == [("Cast", "w", ""), ("MatMul", "y", "")]
