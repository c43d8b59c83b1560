"""ShiftSER: the operator, the masks and the heads against golden values computed with the original code, and what masking promises."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import Tensor

from training.systems.shiftser import HEADS, Head, build_head, temporal_shift
from training.systems.specaugment import SpecAugment


def counting(frames: int = 5, channels: int = 8) -> Tensor:
    """x[t, c] = 10 (t + 1) + (c + 1), as a batch of one."""
    return 10.0 * torch.arange(1, frames + 1)[:, None] + torch.arange(1, channels + 1)[None, :][None]


def rows(text: str) -> Tensor:
    return torch.tensor([[float(value) for value in row.split()] for row in text.split("/")])


SHIFTED = [
    (
        {"n_div": 4},
        "0 0 13 14 15 16 17 18 / 11 12 23 24 25 26 27 28 / 21 22 33 34 35 36 37 38 / 31 32 43 44 45 46 47 48 / 41 42 53 54 55 56 57 58",
    ),
    (
        {"n_div": 4, "bidirectional": True},
        "0 0 23 24 15 16 17 18 / 11 12 33 34 25 26 27 28 / 21 22 43 44 35 36 37 38 / 31 32 53 54 45 46 47 48 / 41 42 0 0 55 56 57 58",
    ),
    (
        {"n_div": 4, "stride": 2, "bidirectional": True},
        "0 0 33 34 15 16 17 18 / 0 0 43 44 25 26 27 28 / 11 12 53 54 35 36 37 38 / 21 22 0 0 45 46 47 48 / 31 32 0 0 55 56 57 58",
    ),
    (
        {"n_div": 2, "bidirectional": True},
        "0 0 0 0 25 26 27 28 / 11 12 13 14 35 36 37 38 / 21 22 23 24 45 46 47 48 / 31 32 33 34 55 56 57 58 / 41 42 43 44 0 0 0 0",
    ),
    (
        {"n_div": 3},
        "0 0 13 14 15 16 17 18 / 11 12 23 24 25 26 27 28 / 21 22 33 34 35 36 37 38 / 31 32 43 44 45 46 47 48 / 41 42 53 54 55 56 57 58",
    ),
    (
        {"n_div": 1},
        "0 0 0 0 0 0 0 0 / 11 12 13 14 15 16 17 18 / 21 22 23 24 25 26 27 28 / 31 32 33 34 35 36 37 38 / 41 42 43 44 45 46 47 48",
    ),
    (
        {"n_div": 4, "padding": "repeat"},
        "11 12 13 14 15 16 17 18 / 11 12 23 24 25 26 27 28 / 21 22 33 34 35 36 37 38 / 31 32 43 44 45 46 47 48 / 41 42 53 54 55 56 57 58",
    ),
    (
        {"n_div": 4, "stride": 2, "bidirectional": True, "padding": "repeat"},
        "11 12 33 34 15 16 17 18 / 21 22 43 44 25 26 27 28 / 11 12 53 54 35 36 37 38 / 21 22 43 44 45 46 47 48 / 31 32 53 54 55 56 57 58",
    ),
]


@pytest.mark.parametrize(("options", "expected"), SHIFTED)
def test_shift_golden(options: dict, expected: str) -> None:
    x = counting()
    before = x.clone()
    assert torch.equal(temporal_shift(x, **options)[0], rows(expected))
    assert torch.equal(x, before)


def test_stride_longer_than_the_clip() -> None:
    shifted = temporal_shift(counting(frames=2), n_div=4, stride=3)[0]
    assert torch.equal(shifted, rows("0 0 13 14 15 16 17 18 / 0 0 23 24 25 26 27 28"))


@pytest.mark.parametrize("padding", ["zero", "repeat"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("stride", [1, 3])
def test_shift_ends_at_each_clips_own_end(padding: str, bidirectional: bool, stride: int) -> None:
    options = {"n_div": 4, "stride": stride, "bidirectional": bidirectional, "padding": padding}
    x = torch.randn(3, 9, 8)
    lengths = torch.tensor([9, 5, 2])
    shifted = temporal_shift(x, **options, lengths=lengths)
    for item, length in enumerate(lengths.tolist()):
        assert torch.equal(shifted[item, :length], temporal_shift(x[item : item + 1, :length], **options)[0])
        assert not shifted[item, length:].any()


def test_gradient_is_one_where_a_cell_survives() -> None:
    x = torch.randn(1, 5, 8, requires_grad=True)
    temporal_shift(x, n_div=4, stride=2, bidirectional=True).sum().backward()
    expected = torch.ones(5, 8)
    expected[3:, :2] = 0  # pushed out at the end
    expected[:2, 2:4] = 0  # pushed out at the start
    assert torch.equal(x.grad[0], expected)


def test_two_shifts_are_one_of_twice_the_stride() -> None:
    x = torch.randn(2, 11, 8)
    once = temporal_shift(x, stride=2, bidirectional=True)
    assert torch.equal(temporal_shift(once, stride=2, bidirectional=True), temporal_shift(x, stride=4, bidirectional=True))


def test_uneven_channel_stays() -> None:
    x = torch.randn(1, 6, 9)
    assert torch.equal(temporal_shift(x, n_div=2, bidirectional=True)[:, :, 8], x[:, :, 8])


@pytest.mark.parametrize(
    "options", [{"stride": 0}, {"n_div": 9}, {"n_div": 0}, {"n_div": 1, "bidirectional": True}, {"padding": "circular"}]
)
def test_shift_rejects(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        temporal_shift(counting(), **options)


def test_specaugment_draws() -> None:
    torch.manual_seed(0)
    augment = SpecAugment(768)
    assert augment.mask_vector.min() >= 0 and augment.mask_vector.max() < 1
    x = torch.full((50, 374, 768), 2.0)  # neither 0 nor a value of the mask vector
    generator = torch.Generator().manual_seed(1)
    masked_frames = []
    for _ in range(20):
        y = augment(x, generator=generator)
        dropped = (y == 0).all(dim=1)
        assert (dropped.sum(dim=1) == 64).all()
        hidden = ((y == augment.mask_vector) | dropped[:, None]).all(dim=2)
        assert ((y == 2) | hidden[:, :, None] | dropped[:, None]).all()
        masked_frames.append(hidden.sum(dim=1))
    counts = torch.cat(masked_frames)
    assert counts.min() >= 16 and counts.max() == 30
    assert counts.unique().numel() > 5, "spans overlap at times, so counts differ"
    assert (x == 2).all()
    assert augment.eval()(x) is x


def test_specaugment_same_seed_same_masks_inside_each_clip() -> None:
    augment = SpecAugment(128)
    x = torch.full((4, 600, 128), 2.0)
    lengths = torch.tensor([600, 40, 15, 14])
    first, second = (augment(x, lengths, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    hidden = (first != 2).all(dim=2).sum(dim=1)
    assert hidden[0] > 30 and 16 <= hidden[1] <= 30
    assert hidden[2:].tolist() == [15, 0]  # one span fits exactly; none fits
    assert (first[1, 40:] == 2).any(dim=1).all(), "no span behind the clip's end"


def test_specaugment_skips_what_is_too_small() -> None:
    x = torch.ones(2, 9, 24)
    assert torch.equal(SpecAugment(24)(x), x)


def test_specaugment_trains_its_vector() -> None:
    augment = SpecAugment(16)
    augment(torch.ones(2, 100, 16), generator=torch.Generator().manual_seed(0)).sum().backward()
    assert (augment.mask_vector.grad >= 32).all()


PARAMETERS = [
    ("cnn", {}, 9_465_604),
    ("shiftcnn", {}, 9_465_604),
    ("transformer", {}, 13_094_020),
    ("transformer", {"position": "relative_key"}, 13_094_020),
    ("transformer", {"position": "absolute"}, 13_285_636),
    ("shiftformer", {}, 9_451_780),
    ("lstm", {}, 9_459_460),
    ("shiftlstm", {}, 9_459_460),
]


@pytest.mark.parametrize(("name", "options", "expected"), PARAMETERS)
def test_parameters(name: str, options: dict, expected: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in build_head(name, 768, 4, **options).parameters()) == expected
        assert sum(p.numel() for p in build_head(name, 768, 4, specaugment=False, **options).parameters()) == expected - 768


def golden_head(name: str, **options: object) -> Head:
    """Parameter k, element i = 0.1 sin(0.37 i + 0.11 k), LayerNorm weights 1 more; the mask vector takes no number."""
    head = build_head(name, 24, 4, masked=False, longest=7, **options).double().eval()
    norms = {f"{path}.weight" for path, module in head.named_modules() if isinstance(module, torch.nn.LayerNorm)}
    numbered = [(path, p) for path, p in head.named_parameters() if path != "specaugment.mask_vector"]
    with torch.no_grad():
        for number, (path, parameter) in enumerate(numbered):
            wave = 0.1 * torch.sin(0.37 * torch.arange(parameter.numel(), dtype=torch.float64) + 0.11 * number)
            parameter.copy_(wave.view_as(parameter) + (path in norms))
    return head


GOLDEN = [
    ("cnn", {}, "0.494651 -0.338637 0.309828 -0.081713 / 0.469619 -0.414055 0.463860 -0.269766"),
    ("shiftcnn", {"n_div": 4}, "0.453691 -0.288162 0.264450 -0.054571 / 0.424920 -0.391207 0.469478 -0.302224"),
    (
        "shiftcnn",
        {"n_div": 4, "placement": "in-place"},
        "0.453679 -0.288211 0.264546 -0.054687 / 0.424980 -0.391156 0.469331 -0.302022",
    ),
    (
        "shiftcnn",
        {"n_div": 4, "bidirectional": True},
        "0.427223 -0.302659 0.315715 -0.127762 / 0.215089 -0.153600 0.272887 -0.203563",
    ),
    ("transformer", {}, "0.178007 -0.121458 0.115280 -0.121508 / 0.130852 -0.209638 0.313266 -0.371980"),
    (
        "transformer",
        {"position": "relative_key"},
        "0.178028 -0.121477 0.115291 -0.121508 / 0.130868 -0.209659 0.313285 -0.371992",
    ),
    ("shiftformer", {}, "0.578122 -0.429409 0.504540 -0.138369 / 0.573439 -0.523911 0.670866 -0.328366"),
    ("lstm", {}, "-1.112495 -0.193957 1.026824 1.231767 / -1.093619 -0.183702 1.017441 1.212826"),
    ("shiftlstm", {}, "-0.890676 -0.137302 0.857453 1.018316 / -0.978185 -0.152899 0.930523 1.101558"),
]


@pytest.mark.parametrize(("name", "options", "expected"), GOLDEN)
def test_head_golden(name: str, options: dict, expected: str) -> None:
    x = torch.sin(0.13 * torch.arange(2 * 7 * 24, dtype=torch.float64)).view(2, 7, 24)
    logits = golden_head(name, **options)(x, torch.tensor([7, 7])).logits
    torch.testing.assert_close(logits, rows(expected).double(), rtol=0, atol=1e-5)


VARIANTS = [
    *((name, {}) for name in HEADS),
    ("shiftcnn", {"placement": "in-place", "shifted_blocks": [1, 2], "bidirectional": True}),
    ("shiftcnn", {"placement": "replacement", "bidirectional": True, "padding": "repeat", "n_div": 4}),
    ("transformer", {"placement": "residual", "bidirectional": True, "stride": 2}),
    ("transformer", {"placement": "in-place", "position": "relative_key"}),
    ("transformer", {"position": "absolute"}),
    ("shiftlstm", {"bidirectional": True, "padding": "repeat"}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_masked_equals_unmasked_without_padding(name: str, options: dict) -> None:
    masked = build_head(name, 24, 4, longest=11, **options).double().eval()
    unmasked = build_head(name, 24, 4, longest=11, masked=False, **options).double().eval()
    unmasked.load_state_dict(masked.state_dict())
    x, lengths = torch.randn(3, 11, 24, dtype=torch.float64), torch.full((3,), 11)
    for ours, theirs in zip(masked(x, lengths), unmasked(x, lengths), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    # And the option is not a dead one.
    assert not torch.allclose(masked(x, lengths - 4).logits, unmasked(x, lengths - 4).logits)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_padding_changes_nothing(name: str, options: dict) -> None:
    head = build_head(name, 24, 4, longest=9, **options).double().eval()
    lengths = torch.tensor([13, 6, 1])
    x = 50 * torch.randn(3, 20, 24, dtype=torch.float64)  # loud, so that any leak shows
    x[1, 6:] = float("nan")
    batch = head(x, lengths)
    assert batch.frames.shape == (3, 20, 4) and batch.logits.shape == (3, 4)
    for item, length in enumerate(lengths.tolist()):
        alone = head(x[item : item + 1, :length], lengths[item : item + 1])
        torch.testing.assert_close(batch.logits[item], alone.logits[0], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(batch.embedding[item], alone.embedding[0], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(batch.frames[item, :length], alone.frames[0], rtol=1e-9, atol=1e-9)
        assert not batch.frames[item, length:].any()
    # The classifier is linear, so the mean of the frames' logits is the clip's.
    torch.testing.assert_close(batch.frames.sum(dim=1) / lengths[:, None], batch.logits)


def test_longer_than_the_distance_table_is_clipped() -> None:
    head = build_head("transformer", 24, 4, longest=4).eval()
    index = (torch.arange(9)[:, None] - torch.arange(9)[None, :]).clamp(-3, 3) + 3
    table = head.blocks[0].attention.distance.weight
    x = torch.randn(1, 9, 24)
    q, k, v = head.blocks[0].attention.qkv(x).view(9, 3, 12, 2).unbind(1)
    scores = torch.einsum("ihd,jhd->hij", q, k)
    scores = scores + torch.einsum("ihd,ijd->hij", q, table[index]) + torch.einsum("jhd,ijd->hij", k, table[index])
    expected = torch.einsum("hij,jhd->ihd", (scores / 2**0.5).softmax(dim=2), v).reshape(1, 9, 24)
    torch.testing.assert_close(head.blocks[0].attention(x, None), expected)


def test_options_of_distance_and_dropout() -> None:
    torch.manual_seed(0)
    head = build_head("transformer", 96, 4, distance_deviation=0.02, dropout=0.5, specaugment=False)
    assert head.blocks[0].attention.distance.weight.std().item() == pytest.approx(0.02, rel=0.05)
    x, lengths = torch.randn(2, 8, 96), torch.tensor([8, 8])
    assert not torch.equal(head(x, lengths).logits, head(x, lengths).logits)
    still = build_head("transformer", 96, 4, specaugment=False)
    assert torch.equal(still(x, lengths).logits, still(x, lengths).logits)


def test_specaugment_is_first_and_for_training_only() -> None:
    head = build_head("cnn", 32, 4)
    x, lengths = torch.randn(2, 60, 32), torch.tensor([60, 40])
    augmented = [head(x, lengths, torch.Generator().manual_seed(seed)).logits for seed in (0, 0, 1)]
    assert torch.equal(augmented[0], augmented[1]) and not torch.equal(augmented[0], augmented[2])
    augmented[0].sum().backward()
    assert head.specaugment.mask_vector.grad.any()
    head.eval()
    assert torch.equal(head(x, lengths).logits, head(x, lengths).logits)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gru", {}, "shiftformer"),
        ("cnn", {"n_dif": 4}, '"n_div"'),
        ("lstm", {"placement": "residual"}, "none, in-place"),
        ("shiftcnn", {"shifted_blocks": [0]}, "1 to 2"),
        ("shiftcnn", {"n_div": 25}, "between 1 and 24"),
        ("shiftlstm", {"stride": 0}, "1 or more"),
        ("transformer", {"heads": 7}, "divides"),
        ("transformer", {"position": "rotary"}, "relative_key"),
        ("cnn", {"kernel": 6}, "odd"),
    ],
)
def test_what_cannot_be_built_says_what_can(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_head(name, 24, 4, **options)


class TwoInputs(torch.nn.Module):
    """A head as a graph sees it: no generator, a plain tuple."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return tuple(self.head(hidden, lengths))


OTHER_SHAPES = [(1, 21, [21]), (4, 6, [6, 1, 3, 2])]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_trace(name: str, options: dict) -> None:
    graph = TwoInputs(build_head(name, 24, 4, longest=9, **options).eval()).requires_grad_(False)
    traced = torch.jit.trace(graph, (torch.randn(2, 10, 24), torch.tensor([10, 7])))
    for batch, frames, lengths in OTHER_SHAPES:
        x = torch.randn(batch, frames, 24)
        for ours, theirs in zip(graph(x, torch.tensor(lengths)), traced(x, torch.tensor(lengths)), strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HEADS)
def test_onnx(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    graph = TwoInputs(build_head(name, 24, 4, longest=9).eval()).requires_grad_(False)
    dynamic = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        graph,
        (torch.randn(2, 10, 24), torch.tensor([10, 7])),
        dynamo=True,
        verbose=False,
        input_names=["hidden", "lengths"],
        dynamic_shapes={"hidden": {0: dynamic, 1: dynamic}, "lengths": {0: dynamic}},
    )
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for batch, frames, lengths in OTHER_SHAPES:
        x, ends = torch.randn(batch, frames, 24), torch.tensor(lengths)
        for ours, theirs in zip(graph(x, ends), session.run(None, {"hidden": x.numpy(), "lengths": ends.numpy()}), strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-5)
