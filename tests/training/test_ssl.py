"""Encoders of transformers on tiny random configurations: the same states as theirs, padding without effect, and a recipe that uses one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training import paths
from training.encoders import build_encoder, ssl
from training.encoders.compact import CompactEncoder
from training.encoders.ssl import HUBERT, LARGE, WAV2VEC2, WAVLM, Spec, SslEncoder
from training.model import EmotionModel
from training.paths import Weights
from training.recipe import Model, Recipe
from training.runs import Places, prepare

TINY = {
    "num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
STABLE = {**TINY, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
KINDS = {"wav2vec2": WAV2VEC2, "hubert": HUBERT, "wavlm": WAVLM}


@pytest.fixture(autouse=True)
def tiny_specs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in KINDS.items():
        monkeypatch.setitem(ssl.SPECS, f"{name}-base", Spec(*kind, TINY))
        monkeypatch.setitem(ssl.SPECS, f"{name}-large", Spec(*kind, STABLE))


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", ["base", "large"])
@pytest.mark.parametrize("kind", KINDS)
def test_states_are_those_of_transformers(kind: str, size: str) -> None:
    torch.manual_seed(0)
    encoder = SslEncoder(f"{kind}-{size}", 3).eval()
    waveform = noise(8000)[None]
    given = waveform if size == "base" else (waveform - waveform.mean()) / (waveform.var(correction=0) + 1e-7).sqrt()
    with torch.no_grad():
        output = encoder.network(given, output_hidden_states=True)
        hidden, frames, starts = encoder.lower(waveform, torch.tensor([8000]), 2, first=0)
        states = encoder.upper(hidden, frames, 2)
    assert frames.tolist() == [(8000 - 400) // 320 + 1] and starts.tolist() == [0] and len(states) == 4
    for index in range(3):
        torch.testing.assert_close(states[index], output.hidden_states[index], atol=1e-5, rtol=1e-4)
    last = states[3] if size == "base" else encoder.network.encoder.layer_norm(states[3])
    torch.testing.assert_close(last, output.last_hidden_state, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", ["base", "large"])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind: str, size: str) -> None:
    torch.manual_seed(1)
    encoder = SslEncoder(f"{kind}-{size}", 3).eval()
    short, long = noise(5000), noise(9000, seed=1)
    waveform = torch.zeros(2, 9000)
    waveform[0, :5000], waveform[1] = short, long
    waveform[0, 5000:] = 0.5  # what stands after a clip's end is not heard
    with torch.no_grad():
        together, frames, _ = encoder.lower(waveform, torch.tensor([5000, 9000]), 3, first=1)
        alone, count, _ = encoder.lower(short[None], torch.tensor([5000]), 3, first=1)
    assert frames[0] == count[0] and together.shape == (2, int(frames[1]), 3 * 16)
    torch.testing.assert_close(together[0, : int(count[0])], alone[0], atol=1e-5, rtol=1e-4)


def test_running_on_from_cached_layers_is_the_same() -> None:
    encoder = SslEncoder("wavlm-base", 3).eval()
    waveform, lengths = noise(6000)[None], torch.tensor([6000])
    with torch.no_grad():
        whole, frames, _ = encoder.lower(waveform, lengths, 3, first=0)
        lower, _, _ = encoder.lower(waveform, lengths, 1)
        states = encoder.upper(lower, frames, 1)
    torch.testing.assert_close(torch.cat(states, dim=2), whole[:, :, 16:])


def test_blocks_are_cut_and_names_checked() -> None:
    assert len(SslEncoder("hubert-base", 2).blocks) == 2
    with pytest.raises(ValueError, match="has 3 blocks; 4 were asked for"):
        SslEncoder("hubert-base", 4)
    with pytest.raises(ValueError, match="no encoder"):
        build_encoder("hubert-huge", 2)
    assert isinstance(build_encoder(None, 2), CompactEncoder)
    assert {name for name, spec in ssl.SPECS.items() if spec.size is not TINY and spec.size is not STABLE} == {"wavlm-base-plus"}
    assert LARGE["hidden_size"] == 1024 and set(ssl.SPECS) <= set(paths.WEIGHTS)


@pytest.mark.parametrize("frozen", [3, 2])
def test_what_is_frozen_is_not_trained(frozen: int) -> None:
    model = EmotionModel(Model(encoder="wavlm-base", blocks=3, frozen_blocks=frozen, first_layer=1, head_options={"expansion": 1}), 4)
    assert len(model.mix.weight) == 3 and model.mix.mean.shape == (3, 16)
    trained = {id(parameter) for group in model.parameters_by_depth() for parameter in group}
    assert {id(parameter) for parameter in model.encoder.blocks[0].parameters()}.isdisjoint(trained)
    assert all((id(parameter) in trained) == (frozen == 2) for parameter in model.encoder.blocks[2].parameters())


@pytest.mark.usefixtures("states_in_this_process")
def test_a_recipe_caches_and_reads_its_layers(
    tree: Path, places: Places, tiny: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights"
    SslEncoder("hubert-base", 3).network.save_pretrained(weights / "hubert-base")
    monkeypatch.setattr(paths, "WEIGHTS", {"hubert-base": Weights("hubert-base/model.safetensors", "here", "CC0")})
    recipe = tiny("model.encoder=hubert-base", "model.blocks=3", "model.frozen_blocks=3", "model.first_layer=2", "augmentation.views=0")
    run = prepare(recipe, replace(places, weights=weights, cache=tmp_path / "cache"))
    example = run.examples.test[0]
    state = run.features.get(example, 0)
    assert state.shape[1] == 2 * 16
    model = run.model().eval()
    from training.data import read

    samples = torch.from_numpy(read(example.file))[None]
    with torch.no_grad():
        logits, _, frames, _ = model(samples, torch.tensor([samples.shape[1]]))
        cached = model.read(model.pool_states(torch.from_numpy(state.astype(np.float32))[None], torch.tensor([len(state)])))[0]
    assert frames.tolist() == [len(state)]  # pooled in the cache, for nothing of the encoder is trained
    torch.testing.assert_close(cached, logits, atol=1e-2, rtol=1e-2)
