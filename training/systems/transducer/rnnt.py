"""The transducer loss (Graves 2012, "Sequence Transduction with Recurrent Neural Networks", sections 2.4 and 2.5) in plain PyTorch.

A lattice has a node (t, u) for each of T frames and of U + 1 counts of tokens emitted; blank leads to (t + 1, u), the next token to
(t, u + 1), and a last blank out of (T - 1, U). All nodes of one anti-diagonal t + u depend on the one before alone, so the recursions run
over T + U diagonals with all clips and nodes of a diagonal at once, in double precision: these arrays are small beside the logits. The
backward pass is written out, so that of the lattice of logits nothing is kept but the logits themselves.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

BLANK = 0
IMPOSSIBLE = -1e30  # a logarithm of 0 whose differences are numbers still


class Lattice(NamedTuple):
    """Logarithms of: all paths that reach a node (batch, T, U + 1), all that lead on from it, and all from start to end (batch,)."""

    forward: Tensor
    backward: Tensor
    total: Tensor


def lattice(blank: Tensor, emit: Tensor, frames: Tensor, tokens: Tensor) -> Lattice:
    """Sums over the alignments of each clip.

    `blank` (batch, T, U + 1) and `emit` (batch, T, U) are log-probabilities of blank and of the next token; `frames` and `tokens`
    (batch,) the true lengths. Nodes beyond them hold a very negative number.
    """
    blank, emit = blank.double(), emit.double()
    batch, longest, nodes = blank.shape
    device = blank.device
    frame = torch.arange(longest, device=device)[None, :, None]
    node = torch.arange(nodes, device=device)[None, None, :]
    last_frame, last_node = frames[:, None, None] - 1, tokens[:, None, None]
    end = (frame == last_frame) & (node == last_node)
    final = torch.where(end, blank, IMPOSSIBLE)
    on = torch.where((frame < last_frame) & (node <= last_node), blank, IMPOSSIBLE)
    up = torch.nn.functional.pad(emit, (0, 1))
    up = torch.where((frame <= last_frame) & (node < last_node), up, IMPOSSIBLE)
    on, up, final = (_skewed(x) for x in (on, up, final))  # (batch, diagonals, U + 1)
    diagonals = longest + nodes - 1
    first = torch.full((batch, nodes), IMPOSSIBLE, dtype=torch.float64, device=device)
    first[:, 0] = 0.0
    forward = [first]
    for d in range(1, diagonals):
        reached = forward[-1] + up[:, d - 1]
        reached = torch.nn.functional.pad(reached[:, :-1], (1, 0), value=IMPOSSIBLE)
        forward.append(torch.logaddexp(forward[-1] + on[:, d - 1], reached))
    after = torch.full_like(first, IMPOSSIBLE)
    backward = [after]
    for d in reversed(range(diagonals)):
        next_node = torch.nn.functional.pad(backward[-1][:, 1:], (0, 1), value=IMPOSSIBLE)
        ways = torch.logaddexp(backward[-1] + on[:, d], next_node + up[:, d])
        backward.append(torch.logaddexp(ways, final[:, d]))
    alpha = _straight(torch.stack(forward, 1), longest)
    beta = _straight(torch.stack(backward[:0:-1], 1), longest)
    return Lattice(alpha, beta, beta[:, 0, 0])


def occupancy(found: Lattice, blank: Tensor, emit: Tensor, frames: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of all alignments that take blank at each node (batch, T, U + 1), and that take the next token there (batch, T, U), in double
    precision.

    `found` is the `lattice` of the other arguments. The first sums to 1 over u for every true frame: each alignment leaves each frame once.
    """
    alpha, beta, total = found
    frame = torch.arange(blank.shape[1], device=blank.device)[None, :, None]
    node = torch.arange(blank.shape[2], device=blank.device)[None, None, :]
    end = (frame == frames[:, None, None] - 1) & (node == tokens[:, None, None])
    after_blank = torch.nn.functional.pad(beta[:, 1:], (0, 0, 0, 1), value=IMPOSSIBLE)
    after_blank = torch.where(end, 0.0, after_blank)
    inside = (frame < frames[:, None, None]) & (node <= tokens[:, None, None])
    taken_blank = torch.where(inside, alpha + blank + after_blank - total[:, None, None], IMPOSSIBLE).exp()
    taken_emit = torch.where(inside[:, :, 1:], alpha[:, :, :-1] + emit + beta[:, :, 1:] - total[:, None, None], IMPOSSIBLE).exp()
    return taken_blank, taken_emit


def rnnt_loss(logits: Tensor, targets: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
    """Negative log-likelihood of each clip's tokens, (batch,), summed over all alignments; blank is 0.

    `logits` (batch, T, U + 1, V) raw, `targets` (batch, U), `frames` and `tokens` (batch,) true lengths, of one frame at least. On a GPU
    torchaudio's kernel is used where it can be imported.
    """
    if logits.shape[2] != targets.shape[1] + 1:
        raise ValueError(
            f"a lattice of {logits.shape[2]} nodes a frame does not fit {targets.shape[1]} tokens: it needs one more than tokens"
        )
    if int(frames.min()) < 1 or int(frames.max()) > logits.shape[1] or int(tokens.max()) > targets.shape[1]:
        raise ValueError("lengths lie outside the lattice: each clip needs a frame at least, and no more frames and tokens than there are")
    audio = torchaudio_functional() if logits.is_cuda else None
    if audio is not None:
        fused: Tensor = audio.rnnt_loss(
            logits.float(), targets.int(), frames.int(), tokens.int(), blank=BLANK, clamp=-1, reduction="none", fused_log_softmax=True
        )
        return fused
    loss: Tensor = _Loss.apply(logits, targets, frames, tokens)
    return loss


@cache
def torchaudio_functional() -> ModuleType | None:
    """torchaudio's functions; None where it is not installed, or does not fit the installed torch."""
    try:
        import torchaudio.functional
    except (ImportError, OSError):  # a wheel for CUDA beside a torch without it misses shared libraries
        return None
    return torchaudio.functional if hasattr(torchaudio.functional, "rnnt_loss") else None


def log_probabilities(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Of blank (batch, T, U + 1) and of the next token (batch, T, U), from `logits` (batch, T, U + 1, V) and `targets` (batch, U)."""
    scale = logits.logsumexp(3)
    blank = logits[..., BLANK] - scale
    index = targets[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
    emit = logits[:, :, :-1].gather(3, index).squeeze(3) - scale[:, :, :-1]
    return blank, emit


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
        exact = logits if logits.dtype == torch.float64 else logits.float()
        blank, emit = log_probabilities(exact, targets)
        blank, emit = blank.double(), emit.double()
        found = lattice(blank, emit, frames, tokens)
        taken_blank, taken_emit = occupancy(found, blank, emit, frames, tokens)
        ctx.save_for_backward(logits, targets, taken_blank.to(exact.dtype), taken_emit.to(exact.dtype))
        return -found.total.to(exact.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """d loss / d logit v = softmax_v * (share of alignments through the node) - (share that take v there)."""
        logits, targets, blank, emit = ctx.saved_tensors
        scale = gradients[0][:, None, None].to(blank.dtype)
        blank, emit = blank * scale, emit * scale
        through = blank.clone()
        through[:, :, :-1] += emit
        gradient = logits.to(blank.dtype).softmax(3).mul_(through[..., None])
        gradient[..., BLANK] -= blank
        index = targets[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
        gradient[:, :, :-1].scatter_add_(3, index, -emit[..., None])
        return gradient.to(logits.dtype), None, None, None


def _skewed(x: Tensor) -> Tensor:
    """(batch, T, N) -> (batch, T + N - 1, N): row d holds the nodes t + u = d, u by column; IMPOSSIBLE where there is none."""
    batch, longest, nodes = x.shape
    padded = torch.nn.functional.pad(x.transpose(1, 2), (0, nodes), value=IMPOSSIBLE)  # column u of a row of T + N
    flat = padded.reshape(batch, -1)[:, : nodes * (longest + nodes - 1)]  # each further row starts one later
    return flat.reshape(batch, nodes, longest + nodes - 1).transpose(1, 2)


def _straight(x: Tensor, longest: int) -> Tensor:
    """The way back from `_skewed`: (batch, T + N - 1, N) -> (batch, T, N)."""
    batch, diagonals, nodes = x.shape
    flat = torch.nn.functional.pad(x.transpose(1, 2).reshape(batch, -1), (0, nodes))
    return flat.reshape(batch, nodes, diagonals + 1)[:, :, :longest].transpose(1, 2)
