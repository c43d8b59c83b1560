"""ENT, FENT and the frame-wise baseline over hidden layers of any encoder: (layers, batch, frames, width) with lengths (batch,).

ENT (section 2.2 of the paper) puts an emotion joint beside that of a transducer. FENT (section 2.3) gives blank, which moves on in time,
a predictor and a joint of its own, and lets them share its frames with the emotions.

Besides `forward`, which training runs over whole lattices, both give what decoding steps through: `frames`, `step`, `node` and
`utterance`, where frames and steps are vectors that hold all that the nodes and the utterance head need of them, projected already.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.systems.transducer.layers import BidirectionalLSTM, Joint, Predictor, ScalarMix, UtteranceHead, masked_mean
from training.systems.transducer.rnnt import BLANK


class Sizes(NamedTuple):
    """The paper's, but for `vocabulary`; `layers` = 1 is its fine-tune mode, which reads the last layer alone."""

    vocabulary: int
    layers: int = 13
    width: int = 768  # of the encoder's layers
    hidden: int = 384  # of the LSTM over them, in each direction
    predictor: int = 640
    inner: int = 768  # of the joints, and of what the predictor gives
    classes: int = 4
    pre_projection: bool = True
    dropout: float = 0.1
    language_model: bool = False
    emotion_joint: bool = True  # without it nodes are read by the utterance head, as published


class Nodes(NamedTuple):
    """A batch of lattices: `tokens` (batch, T, U + 1, vocabulary), `emotions` (batch, T, U + 1, classes) of the emotion joint or None,
    `head` (batch, classes), `language` (batch, U + 1, vocabulary) or None, and what the head pools: `h` (batch, T, 2 * hidden) and `g`
    (batch, U + 1, inner). Logits all, raw."""

    tokens: Tensor
    emotions: Tensor | None
    head: Tensor
    language: Tensor | None
    h: Tensor
    g: Tensor


StackedState = tuple[Tensor, Tensor]  # hidden and cell, (predictors, batch, width) each


class Transducer(nn.Module):
    """What ENT and FENT have in common."""

    predictors: int
    head: UtteranceHead
    emotion_joint: Joint | None

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = BidirectionalLSTM(sizes.width, sizes.hidden)
        self.language = nn.Linear(sizes.inner, sizes.vocabulary) if sizes.language_model else None

    def forward(self, hidden: Tensor, frames: Tensor, tokens: Tensor, lengths: Tensor, emotions: bool = True) -> Nodes:
        """`tokens` (batch, U) without the blank before them, padded with blank; `lengths` (batch,) theirs. A clip without text has 0.

        emotions: whether the emotion joint is run.
        """
        raise NotImplementedError

    def frames(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, encoded): per frame, what enters each joint, and last what the head pools."""
        raise NotImplementedError

    def step(self, tokens: Tensor, state: StackedState) -> tuple[Tensor, StackedState]:
        """One more token (batch,) -> (batch, predicted) and the state after it."""
        raise NotImplementedError

    def node(self, frame: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """(nodes, encoded) and (nodes or 1, predicted) -> logits of tokens (nodes, vocabulary) and of emotions (nodes, classes)."""
        raise NotImplementedError

    def utterance(self, frame: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Mean frame (batch, encoded) and mean step (batch, predicted) of a clip -> logits (batch, classes) and embedding."""
        sizes = self.sizes
        return self.head.pooled(frame[..., -2 * sizes.hidden :], step[..., -sizes.inner :])

    def start(self, batch: int) -> StackedState:
        # Two tensors: an exporter given the same one twice takes both inputs of its graph for one.
        hidden, cell = self.encoder.ahead.weight_hh_l0.new_zeros(2, self.predictors, batch, self.sizes.predictor)
        return hidden.clone(), cell.clone()

    def _predictor(self) -> Predictor:
        return Predictor(self.sizes.vocabulary, self.sizes.inner, self.sizes.predictor, self.sizes.dropout)

    def _joint(self, outputs: int) -> Joint:
        return Joint(2 * self.sizes.hidden, self.sizes.inner, self.sizes.inner, outputs, self.sizes.pre_projection)

    def _emotion_joint(self) -> Joint | None:
        return self._joint(self.sizes.classes) if self.sizes.emotion_joint else None

    def _emotions(self, frame: Tensor, step: Tensor, place: int) -> Tensor:
        """Of nodes as `node` takes them; `place`: how many joints stand before the emotion joint."""
        if self.emotion_joint is None:
            return self.utterance(frame, step.expand(frame.shape[0], -1))[0]
        own = slice(place * self.sizes.inner, (place + 1) * self.sizes.inner)
        return self.emotion_joint.node(frame[:, own], step[:, own])


class ENT(Transducer):
    predictors = 1

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.mix = ScalarMix(sizes.layers)
        self.predictor = self._predictor()
        self.joint = self._joint(sizes.vocabulary)
        self.emotion_joint = self._emotion_joint()
        self.head = UtteranceHead(2 * sizes.hidden, sizes.inner, sizes.classes)

    def forward(self, hidden: Tensor, frames: Tensor, tokens: Tensor, lengths: Tensor, emotions: bool = True) -> Nodes:
        h = self.encoder(self.mix(hidden), frames)
        g, _ = self.predictor(after_blank(tokens))
        return Nodes(
            tokens=self.joint(h, g),
            emotions=self.emotion_joint(h, g) if emotions and self.emotion_joint is not None else None,
            head=self.head(h, frames, g, lengths + 1),
            language=None if self.language is None else self.language(g),
            h=h,
            g=g,
        )

    def frames(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        h = self.encoder(self.mix(hidden), lengths)
        return torch.cat([joint.frames(h) for joint in self._joints()] + [h], dim=-1)

    def step(self, tokens: Tensor, state: StackedState) -> tuple[Tensor, StackedState]:
        g, state = self.predictor(tokens[:, None], state)
        return torch.cat([joint.steps(g) for joint in self._joints()] + [g], dim=-1)[:, 0], state

    def node(self, frame: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.sizes.inner
        return self.joint.node(frame[:, :inner], step[:, :inner]), self._emotions(frame, step, 1)

    def _joints(self) -> list[Joint]:
        return [self.joint, *([] if self.emotion_joint is None else [self.emotion_joint])]


class FENT(Transducer):
    predictors = 2

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.audio_mix = ScalarMix(sizes.layers)
        self.emotion_mix = ScalarMix(sizes.layers)
        self.blank_predictor = self._predictor()
        self.vocabulary_predictor = self._predictor()
        self.blank_joint = self._joint(1)
        self.vocabulary_joint = self._joint(sizes.vocabulary - 1)
        self.emotion_joint = self._emotion_joint()
        self.head = UtteranceHead(2 * sizes.hidden, sizes.inner, sizes.classes)

    def encoded(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """h of the vocabulary and h' of blank and emotions, (batch, frames, 2 * hidden) each; one layer gives one of both."""
        h = self.encoder(self.audio_mix(hidden), lengths)
        return h, h if self.sizes.layers == 1 else self.encoder(self.emotion_mix(hidden), lengths)

    def forward(self, hidden: Tensor, frames: Tensor, tokens: Tensor, lengths: Tensor, emotions: bool = True) -> Nodes:
        h, own = self.encoded(hidden, frames)
        text = after_blank(tokens)
        g, _ = self.blank_predictor(text)
        words, _ = self.vocabulary_predictor(text)
        return Nodes(
            tokens=torch.cat([self.blank_joint(own, g), self.vocabulary_joint(h, words)], dim=-1),
            emotions=self.emotion_joint(own, g) if emotions and self.emotion_joint is not None else None,
            head=self.head(own, frames, g, lengths + 1),
            language=None if self.language is None else self.language(words),
            h=own,
            g=g,
        )

    def frames(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        h, own = self.encoded(hidden, lengths)
        emotions = [] if self.emotion_joint is None else [self.emotion_joint.frames(own)]
        return torch.cat([self.blank_joint.frames(own), self.vocabulary_joint.frames(h), *emotions, own], dim=-1)

    def step(self, tokens: Tensor, state: StackedState) -> tuple[Tensor, StackedState]:
        hidden, cell = state
        g, (first_hidden, first_cell) = self.blank_predictor(tokens[:, None], (hidden[:1], cell[:1]))
        words, (second_hidden, second_cell) = self.vocabulary_predictor(tokens[:, None], (hidden[1:], cell[1:]))
        emotions = [] if self.emotion_joint is None else [self.emotion_joint.steps(g)]
        both = torch.cat([self.blank_joint.steps(g), self.vocabulary_joint.steps(words), *emotions, g], dim=-1)[:, 0]
        return both, (torch.cat([first_hidden, second_hidden]), torch.cat([first_cell, second_cell]))

    def node(self, frame: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.sizes.inner
        blank = self.blank_joint.node(frame[:, :inner], step[:, :inner])
        words = self.vocabulary_joint.node(frame[:, inner : 2 * inner], step[:, inner : 2 * inner])
        return torch.cat([blank, words], dim=-1), self._emotions(frame, step, 2)


class FrameWise(nn.Module):
    """The baseline of the paper: its encoder, LayerNorm and Linear; clips by their mean frame, time lines frame by frame."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.mix = ScalarMix(sizes.layers)
        self.encoder = BidirectionalLSTM(sizes.width, sizes.hidden)
        self.norm = nn.LayerNorm(2 * sizes.hidden)
        self.classifier = nn.Linear(2 * sizes.hidden, sizes.classes)

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (batch, classes), embedding (batch, 2 * hidden) and each frame's logits (batch, frames, classes)."""
        h = self.encoder(self.mix(hidden), lengths)
        embedding = self.norm(masked_mean(h, lengths))
        return self.classifier(embedding), embedding, self.classifier(self.norm(h))


def after_blank(tokens: Tensor) -> Tensor:
    """(batch, U) -> (batch, U + 1) with blank before the first token."""
    return torch.nn.functional.pad(tokens, (1, 0), value=BLANK)


def frames_of(samples: int) -> int:
    """Frames that wav2vec 2.0 makes of `samples` at 16 kHz: windows of 400 samples, 320 apart.

    >>> [frames_of(samples) for samples in (400, 719, 720, 16_000, 80_000, 120_000, 300_000)]
    [1, 1, 2, 49, 249, 374, 937]
    """
    return (samples - 400) // 320 + 1
