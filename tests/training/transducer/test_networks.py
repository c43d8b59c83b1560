"""ENT and FENT: worked examples and parameter counts of the published code, and that stepping through a lattice gives the lattice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from training.schedules import shiftser_frozen
from training.systems.transducer import layers
from training.systems.transducer.layers import BidirectionalLSTM, Joint, Predictor, ScalarMix, UtteranceHead
from training.systems.transducer.networks import ENT, FENT, FrameWise, Sizes, Transducer, frames_of

SMALL = Sizes(vocabulary=7, layers=3, width=10, hidden=6, predictor=5, inner=8, dropout=0.0)


def sines(*shape: int, scale: float = 1.0, step: float = 0.13, shift: float = 0.0) -> Tensor:
    return scale * torch.sin(step * torch.arange(int(np.prod(shape))) + shift).reshape(shape)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# worked examples


def test_golden_scalar_mix() -> None:
    mix = ScalarMix(3)
    with torch.no_grad():
        mix.weight.copy_(torch.tensor([0.0, 0.5, 1.0]))
        mix.gamma.fill_(1.5)
    mixed = mix(torch.tensor([[1.0, 2.0], [3.0, 5.0], [-1.0, 4.0]])[:, None, None])
    np.testing.assert_allclose(mixed.detach().flatten(), [0.902147, 5.901823], atol=1e-6)
    with pytest.raises(ValueError, match="2 layers given to a mix of 3"):
        mix(torch.zeros(2, 1, 1, 2))


def test_golden_joint() -> None:
    joint = Joint(4, 2, 5, 3)
    with torch.no_grad():
        for k, parameter in enumerate(joint.parameters()):
            parameter.copy_(sines(*parameter.shape, scale=0.5, step=0.37, shift=0.11 * k))
    h = torch.sin(0.13 * torch.arange(8.0)).reshape(1, 2, 4)
    g = torch.cos(0.21 * torch.arange(4.0)).reshape(1, 2, 2)
    expected = [
        [[1.924115, 0.608984, -1.298754], [1.898568, 0.590619, -1.263084]],
        [[1.722501, 0.722789, -1.159867], [1.680764, 0.716777, -1.114817]],
    ]
    np.testing.assert_allclose(joint(h, g).detach()[0], expected, atol=1e-6)


def test_golden_utterance_head() -> None:
    head = UtteranceHead(4, 2, 4)
    with torch.no_grad():
        head.classifier.weight.copy_(sines(4, 6, scale=0.1, step=0.37))
        head.classifier.bias.copy_(sines(4, scale=0.1, step=0.37, shift=0.11))
    h = torch.sin(0.13 * torch.arange(24.0)).reshape(2, 3, 4)
    g = torch.cos(0.21 * torch.arange(12.0)).reshape(2, 3, 2)
    logits = head(h, torch.tensor([3, 2]), g, torch.tensor([2, 3]))
    expected = [[0.210851, -0.279369, 0.268875, 0.185196], [-0.142731, 0.346951, -0.134828, 0.046996]]
    np.testing.assert_allclose(logits.detach(), expected, atol=1e-5)
    assert F.cross_entropy(logits, torch.tensor([1, 3])).item() == pytest.approx(1.586536, abs=1e-5)


# parameter counts, at the paper's sizes


def test_parameters_of_the_parts() -> None:
    assert count(ScalarMix(13)) == 14 and count(BidirectionalLSTM(768, 384)) == 3_545_088
    assert count(UtteranceHead(768, 768, 4)) == 9_220
    for vocabulary, expected in (
        (31, (3_794_048, 1_205_023, 23_839, 1_204_254, 23_070)),
        (2830, (5_585_408, 3_357_454, 2_176_270, 3_356_685, 2_175_501)),
    ):
        found = [count(Predictor(vocabulary))]
        found += [count(Joint(768, 768, 768, outputs, on)) for outputs in (vocabulary, vocabulary - 1) for on in (True, False)]
        assert tuple(found) == expected
    assert [count(Joint(768, 768, 768, outputs, on)) for outputs in (4, 1) for on in (True, False)] == [1_184_260, 3_076, 1_181_953, 769]


@pytest.mark.parametrize(
    ("kind", "vocabulary", "pre_projection", "expected"),
    [
        (ENT, 31, True, 9_737_653),
        (ENT, 31, False, 7_375_285),
        (ENT, 2830, True, 13_681_444),
        (ENT, 2830, False, 11_319_076),
        (FENT, 31, True, 14_712_899),
        (FENT, 31, False, 11_169_347),
        (FENT, 2830, True, 20_448_050),
        (FENT, 2830, False, 16_904_498),
        (FrameWise, 31, True, 3_549_714),
    ],
)
def test_parameters_of_the_systems(kind: type[nn.Module], vocabulary: int, pre_projection: bool, expected: int) -> None:
    with torch.device("meta"):
        assert count(kind(Sizes(vocabulary, pre_projection=pre_projection))) == expected


@pytest.mark.parametrize(("vocabulary", "expected"), [(31, 23_839), (2830, 2_176_270)])
def test_parameters_of_the_language_model(vocabulary: int, expected: int) -> None:
    with torch.device("meta"):
        for kind in (ENT, FENT):
            assert count(kind(Sizes(vocabulary, language_model=True))) - count(kind(Sizes(vocabulary))) == expected


# what the parts do


def test_both_directions_are_what_packing_by_length_gives() -> None:
    torch.manual_seed(0)
    ours, theirs = BidirectionalLSTM(5, 4), nn.LSTM(5, 4, batch_first=True, bidirectional=True)
    theirs.load_state_dict(ours.ahead.state_dict() | {f"{name}_reverse": value for name, value in ours.back.state_dict().items()})
    x, lengths = torch.randn(3, 9, 5), torch.tensor([9, 1, 6])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    torch.testing.assert_close(ours(x, lengths), expected)


def test_a_joint_without_projections_takes_one_width() -> None:
    with pytest.raises(ValueError, match="one width, not 4, 2, 5"):
        Joint(4, 2, 5, 3, pre_projection=False)
    joint = Joint(3, 3, 3, 2, pre_projection=False)
    h, g = torch.randn(1, 2, 3), torch.randn(1, 4, 3)
    torch.testing.assert_close(joint(h, g), joint.output(torch.tanh(h[:, :, None] + g[:, None])))


def test_a_lattice_computed_again_gives_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    joint = Joint(4, 2, 5, 3)
    h, g = torch.randn(2, 6, 4), torch.randn(2, 3, 2)
    found = []
    for most in (10_000, 1):
        monkeypatch.setattr(layers, "RECOMPUTED_NODES", most)
        found.append(torch.autograd.grad(joint(h, g).square().sum(), list(joint.parameters())))
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second)


# the systems


def batch(vocabulary: int = 7) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, vocabulary, (3, 4), generator=generator)
    lengths = torch.tensor([4, 0, 2])
    tokens = torch.where(torch.arange(4) < lengths[:, None], tokens, 0)
    return torch.randn(3, 3, 6, 10, generator=generator), torch.tensor([6, 2, 5]), tokens, lengths


def system(kind: type[Transducer], sizes: Sizes = SMALL) -> Transducer:
    torch.manual_seed(2)
    made = kind(sizes).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("mix.weight"):
                parameter.copy_(torch.randn(len(parameter)))
    return made


@pytest.mark.parametrize("kind", [ENT, FENT])
def test_shapes_and_that_padding_and_partners_change_nothing(kind: type[Transducer]) -> None:
    model = system(kind, SMALL._replace(language_model=True))
    hidden, frames, tokens, lengths = batch()
    found = model(hidden, frames, tokens, lengths)
    assert found.tokens.shape == (3, 6, 5, 7) and found.emotions is not None and found.emotions.shape == (3, 6, 5, 4)
    assert found.head.shape == (3, 4) and found.language is not None and found.language.shape == (3, 5, 7)
    for index in range(3):
        t, u = int(frames[index]), int(lengths[index])
        alone = model(
            hidden[:, index : index + 1, :t], frames[index : index + 1], tokens[index : index + 1, :u], lengths[index : index + 1]
        )
        torch.testing.assert_close(alone.tokens[0], found.tokens[index, :t, : u + 1])
        torch.testing.assert_close(alone.emotions[0], found.emotions[index, :t, : u + 1])
        torch.testing.assert_close(alone.head[0], found.head[index])
        torch.testing.assert_close(alone.language[0], found.language[index, : u + 1])
    assert model(hidden, frames, tokens, lengths, emotions=False).emotions is None


@pytest.mark.parametrize("sizes", [SMALL, SMALL._replace(hidden=4, pre_projection=False)])
@pytest.mark.parametrize("kind", [ENT, FENT])
def test_stepping_gives_the_lattice_and_the_head(kind: type[Transducer], sizes: Sizes) -> None:
    model = system(kind, sizes)
    hidden, frames, tokens, lengths = batch()
    whole = model(hidden, frames, tokens, lengths)
    encoded = model.frames(hidden, frames)
    state = model.start(3)
    steps = []
    for u, column in enumerate(F.pad(tokens, (1, 0)).T):
        step, state = model.step(column, state)
        steps.append(step)
        for t in range(6):
            logits, emotions = model.node(encoded[:, t], step)
            torch.testing.assert_close(logits, whole.tokens[:, t, u])
            torch.testing.assert_close(emotions, whole.emotions[:, t, u])
    for index in range(3):
        mean = torch.stack(steps, 1)[index, : int(lengths[index]) + 1].mean(0)
        logits, _ = model.utterance(encoded[index, : int(frames[index])].mean(0), mean)
        torch.testing.assert_close(logits, whole.head[index])


@pytest.mark.parametrize("kind", [ENT, FENT])
def test_without_an_emotion_joint_the_head_reads_the_nodes(kind: type[Transducer]) -> None:
    torch.manual_seed(0)
    model = kind(SMALL._replace(emotion_joint=False)).eval()
    assert not [name for name, _ in model.named_parameters() if name.startswith("emotion_joint")]
    hidden, frames, tokens, lengths = batch()
    whole = model(hidden, frames, tokens, lengths)
    encoded = model.frames(hidden, frames)
    step, _ = model.step(tokens[:, 0] * 0, model.start(3))
    logits, emotions = model.node(encoded[:, 1], step)
    assert whole.emotions is None
    torch.testing.assert_close(logits, whole.tokens[:, 1, 0])
    torch.testing.assert_close(emotions, model.head.pooled(whole.h[:, 1], whole.g[:, 0])[0])
    torch.testing.assert_close(model.node(encoded[0], step[:1])[1][1], emotions[0])  # one step for several frames


def test_fent_keeps_vocabulary_and_emotion_apart() -> None:
    """Blank, emotions and head follow the blank predictor and the emotion mix; the vocabulary the other two."""
    model = system(FENT)
    hidden, frames, tokens, lengths = batch()
    found = model(hidden, frames, tokens, lengths)

    def names(output: Tensor) -> set[str]:
        gradients = torch.autograd.grad(output.sum(), list(model.parameters()), allow_unused=True, retain_graph=True)
        moved = {name for (name, _), value in zip(model.named_parameters(), gradients, strict=True) if value is not None and value.any()}
        return {name.split(".")[0] for name in moved}

    assert names(found.tokens[..., 0]) == {"emotion_mix", "encoder", "blank_predictor", "blank_joint"}
    assert names(found.tokens[..., 1:]) == {"audio_mix", "encoder", "vocabulary_predictor", "vocabulary_joint"}
    assert names(found.emotions) == {"emotion_mix", "encoder", "blank_predictor", "emotion_joint"}
    assert names(found.head) == {"emotion_mix", "encoder", "blank_predictor", "head"}


def test_the_baseline_reads_clips_by_their_mean_frame_and_frames_alone() -> None:
    torch.manual_seed(0)
    model = FrameWise(SMALL).eval()
    hidden, lengths, _, _ = batch()
    logits, embedding, frames = model(hidden, lengths)
    assert logits.shape == (3, 4) and embedding.shape == (3, 12) and frames.shape == (3, 6, 4)
    h = model.encoder(model.mix(hidden), lengths)
    torch.testing.assert_close(logits[1], model.classifier(model.norm(h[1, :2].mean(0))))
    torch.testing.assert_close(frames[2, 3], model.classifier(model.norm(h[2, 3])))


@pytest.mark.parametrize("kind", [ENT, FENT])
def test_sits_on_wav2vec2(kind: type[Transducer]) -> None:
    config = Wav2Vec2Config(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    backbone = Wav2Vec2Model(config).eval()
    samples = 4_000
    with torch.no_grad():
        states = torch.stack(backbone(torch.randn(2, samples), output_hidden_states=True).hidden_states)
    assert states.shape == (3, 2, frames_of(samples), 12)
    model = system(kind, SMALL._replace(width=12))
    lengths = torch.full((2,), frames_of(samples))
    found = model(states, lengths, torch.tensor([[1, 2], [3, 0]]), torch.tensor([2, 1]))
    assert found.tokens.shape == (2, 12, 3, 7) and bool(found.tokens.isfinite().all())


@pytest.mark.parametrize("kind", [ENT, FENT])
def test_one_layer_is_the_fine_tune_mode(kind: type[Transducer]) -> None:
    model = system(kind, SMALL._replace(layers=1))
    assert not any("mix" in name for name, _ in model.named_parameters())
    hidden, frames, tokens, lengths = batch()
    assert model(hidden[-1:], frames, tokens, lengths).tokens.shape == (3, 6, 5, 7)


@pytest.mark.parametrize(("update", "expected"), [(0, 5e-7), (11_115, 4.878865e-4), (55_575, 2.525e-4), (111_149, 5.0e-6)])
def test_golden_rates_of_the_frozen_mode(update: int, expected: float) -> None:
    """The paper's schedule is ShiftSER's, over 50 epochs."""
    assert shiftser_frozen(update, per_epoch=2223, epochs=50) == pytest.approx(expected, rel=1e-6)
