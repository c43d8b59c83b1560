"""Waveform -> hidden states at 50 Hz. What a recipe may choose is `build_encoder`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.encoders.compact import CompactEncoder

if TYPE_CHECKING:
    from training.encoders.ssl import SslEncoder

    Encoder = CompactEncoder | SslEncoder


def build_encoder(name: str | None, blocks: int) -> Encoder:
    """The compact encoder (None) or one of training/encoders/ssl.py, cut after `blocks` blocks, without its start weights (`load`)."""
    if name is None:
        return CompactEncoder(blocks)
    from training.encoders.ssl import SslEncoder  # transformers takes seconds to import

    return SslEncoder(name, blocks)
