"""Waveform -> hidden states at 50 Hz. What a recipe may choose is `build_encoder`'s; `build_cached` knows a teacher besides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.encoders.compact import CompactEncoder

if TYPE_CHECKING:
    from training.encoders.mn04 import Mn04
    from training.encoders.ssl import SslEncoder

    Encoder = CompactEncoder | SslEncoder

TEACHER = "mn04"


def build_encoder(name: str | None, blocks: int) -> Encoder:
    """The compact encoder (None) or one of training/encoders/ssl.py, cut after `blocks` blocks, without its start weights (`load`)."""
    if name is None:
        return CompactEncoder(blocks)
    from training.encoders.ssl import SslEncoder  # transformers takes seconds to import

    return SslEncoder(name, blocks)


def build_cached(name: str | None, blocks: int) -> Encoder | Mn04:
    """What states are cached of: an encoder, or the teacher of distillation, whose frames are longer and which no head reads."""
    if name == TEACHER:
        from training.encoders.mn04 import Mn04

        return Mn04()
    return build_encoder(name, blocks)
