"""TorchScript files through torch (extra "torch")."""

from __future__ import annotations

import threading
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emoser.errors import CheckpointError, DeviceError, MissingExtra
from emoser.runtimes import INPUTS, OUTPUTS, Outputs, Port
from emoser.runtimes.device import check_device, check_threads
from emoser.runtimes.onnx import check_whole, parse_metadata

EXTRA_FILE = "emoser.json"
_FILTERING = threading.Lock()


class TorchScriptGraph:
    """Any TorchScript file: named arrays -> named arrays. Its own arguments have no names: `inputs` and `outputs` give them, in order."""

    name = "torchscript"
    alone = False

    def __init__(
        self, path: Path, inputs: tuple[Port, ...], outputs: tuple[Port, ...], *, device: str = "auto", threads: int | None = None
    ) -> None:
        self.path, self.inputs, self.outputs = path, inputs, outputs
        check_device(device)
        self.threads = check_threads(threads)
        try:
            import torch
        except ImportError as error:
            raise MissingExtra("The TorchScript runtime", "torch") from error
        there = torch.cuda.is_available()
        if device == "cuda" and not there:
            raise DeviceError(f'device "cuda" is not there: torch {torch.__version__} sees no GPU; or device="cpu"')
        self.device = "cuda" if there and device != "cpu" else "cpu"
        torch.set_num_threads(self.threads)  # torch has no number per model: this holds for the process
        self._torch = torch
        extra = {EXTRA_FILE: ""}
        # Filters are of the process, and two files of one checkpoint are opened in two threads: each puts back what it found.
        with _FILTERING, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is deprecated upstream (torch 2.10); nothing a user can do
            try:
                module = torch.jit.load(str(path), map_location=self.device, _extra_files=extra)  # type: ignore[no-untyped-call]
            except (RuntimeError, ValueError) as error:
                raise CheckpointError(f"{path} is not a TorchScript file that torch {torch.__version__} can open: {error}") from error
        self._module = module.eval().float()  # weights are stored as fp16
        self.metadata = parse_metadata(extra[EXTRA_FILE], path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, a file is how it was opened: another process opens it anew."""
        return partial(type(self), device=self.device, threads=self.threads), (self.path, self.inputs, self.outputs)

    def __call__(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        torch = self._torch
        with torch.inference_mode():
            found = self._module(*(torch.from_numpy(np.ascontiguousarray(feeds[port.name])).to(self.device) for port in self.inputs))
        return {port.name: value.cpu().numpy().astype(port.dtype, copy=False) for port, value in zip(self.outputs, found, strict=True)}


class TorchScriptRuntime(TorchScriptGraph):
    """A file with the interface of utterance checkpoints."""

    def __init__(self, path: Path, *, device: str = "auto", threads: int | None = None) -> None:
        super().__init__(path, INPUTS, OUTPUTS, device=device, threads=threads)
        check_whole(path, self.metadata)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), device=self.device, threads=self.threads), (self.path,)

    def run(self, waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> Outputs:
        found = self({"waveform": waveform, "lengths": lengths})
        return Outputs(logits=found["logits"], frames=found["frames"], embedding=found["embedding"], frame_lengths=found["frame_lengths"])
