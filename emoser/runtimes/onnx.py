"""ONNX files through onnxruntime."""

from __future__ import annotations

import io
import json
import mmap
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emoser.adaptation import Adaptation, Reference
from emoser.errors import CheckpointError, DeviceError, MissingExtra, RuntimeClash
from emoser.runtimes import INPUTS, OUTPUTS, Outputs, Port
from emoser.runtimes.device import CPU, CUDA, check_threads, choose_providers

KEY = "emoser"  # of the file's metadata: one JSON object
REFERENCE_KEY = "adaptation"  # of the file's metadata: a Reference as text
POOLED, SCALE, SHIFT = "pooled", "scale", "shift"  # the further output of a file that can be adapted, and its inputs with defaults
ERRORS, FATAL = 3, 4  # log levels of onnxruntime
Ports = tuple[tuple[Port, ...], tuple[Port, ...]]  # inputs, outputs
TYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}


class OnnxGraph:
    """Any ONNX file: named arrays -> named arrays."""

    name = "onnx"
    # Whether threads spin while they wait. Those of one file of several would take the cores from the next file.
    spins: ClassVar[bool] = False

    def __init__(self, path: Path, *, device: str = "auto", threads: int | None = None) -> None:
        self.path, self.threads = path, check_threads(threads)
        ort = import_onnxruntime()
        providers = choose_providers(device, ort.get_available_providers())
        # With "auto" a GPU build on a machine without a GPU is no error, and must not look like one.
        ort.set_default_logger_severity(FATAL if device == "auto" else ERRORS)
        options = ort.SessionOptions()
        options.log_severity_level = ERRORS
        options.intra_op_num_threads = self.threads
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.spins)))
        session = _cuda_session(ort, path, options, providers) if CUDA in providers else None
        self.device = "cpu" if session is None else "cuda"
        try:
            self._session: Any = session or ort.InferenceSession(str(path), options, providers=[CPU], enable_fallback=0)
        except Exception as error:  # onnxruntime's own kinds share no base but Exception
            raise CheckpointError(f"{path} is not an ONNX file that onnxruntime {ort.__version__} can open: {error}") from error
        if device == "cuda" and session is None:
            raise DeviceError('device "cuda" did not start (driver, CUDA or cuDNN missing or too old: see nvidia-smi). Use device="cpu"')
        self.inputs = tuple(map(_port, self._session.get_inputs()))
        self.outputs = tuple(map(_port, self._session.get_outputs()))
        self.metadata = _metadata(self._session, path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, a file is how it was opened: another process opens it anew."""
        return partial(type(self), device=self.device, threads=self.threads), (self.path,)

    def __call__(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        names = [port.name for port in self.outputs]
        return dict(zip(names, self._session.run(names, feeds), strict=True))


class AdaptableGraph(OnnxGraph):
    """A file that can be adapted where it carries a reference."""

    def __init__(self, path: Path, *, device: str = "auto", threads: int | None = None) -> None:
        super().__init__(path, device=device, threads=threads)
        self.reference = _reference(self._session, path)
        self._adaptation: dict[str, NDArray[np.float32]] = {}
        self._offsets: NDArray[np.float32] | None = None

    def __call__(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        found = super().__call__({**feeds, **self._adaptation})
        if self._offsets is not None:
            heard = found["frames"].any(axis=-1, keepdims=True)  # where nothing is heard, frames are zeros
            found |= {"logits": found["logits"] + self._offsets, "frames": found["frames"] + heard * self._offsets}
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return *super().__reduce__(), {"_adaptation": self._adaptation, "_offsets": self._offsets}

    def unadapted(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return super().__call__(feeds)

    def adapted(self, adaptation: Adaptation) -> Self:
        """The same file, adapted. Raises CheckpointError for the adaptation of another one."""
        width = None if self.reference is None else len(self.reference.deviation)
        if len(adaptation.scale) != width:
            raise CheckpointError(f"the adaptation is of {len(adaptation.scale)} values, the file has {width}: it was made for another one")
        labels, offsets = 0 if self.reference is None else len(self.reference.means), adaptation.offsets
        if offsets is not None and len(offsets) != labels:
            raise CheckpointError(f"the adaptation is of {len(offsets)} labels, the file has {labels}: it was made for another one")
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)  # copy.copy would open the file again
        other._adaptation, other._offsets = {SCALE: adaptation.scale, SHIFT: adaptation.shift}, offsets
        return other


class OnnxRuntime(AdaptableGraph):
    """A file with the interface of utterance checkpoints."""

    spins = True  # it has the cores to itself, and is a fifth faster on two of them

    def __init__(self, path: Path, *, device: str = "auto", threads: int | None = None) -> None:
        super().__init__(path, device=device, threads=threads)
        check_whole(path, self.metadata)
        check_interface(path, "an emoser graph", (INPUTS, OUTPUTS), (self.inputs, self.outputs))
        self.outputs = tuple(port for port in self.outputs if port.name != POOLED)
        # int8: the activations of a batch, padding and all, are put on one scale. A session does not tell which nodes it has.
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            self.alone = data.find(b"DynamicQuantizeLinear") >= 0

    def run(self, waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> Outputs:
        found = self({"waveform": waveform, "lengths": lengths})
        return Outputs(logits=found["logits"], frames=found["frames"], embedding=found["embedding"], frame_lengths=found["frame_lengths"])

    def pooled(self, waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits, vectors = self._session.run(["logits", POOLED], {"waveform": waveform, "lengths": lengths})
        return logits, vectors


_REDIRECTING = threading.Lock()


def _cuda_session(ort: ModuleType, path: Path, options: Any, providers: list[str]) -> Any:
    """A session that does run on CUDA, or None. Left alone, onnxruntime says on stdout what it could not load, and goes on with the CPU."""
    # Two files of one checkpoint are opened in two threads, and standard output is of the process: one that redirected it while the other
    # had would put the other's buffer in its place for good.
    with _REDIRECTING, redirect_stdout(io.StringIO()):
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()  # finds CUDA and cuDNN where pip put them (onnxruntime >= 1.21)
        try:
            session = ort.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
        except Exception:  # a bad file fails on the CPU too, with its reason
            return None
    return session if CUDA in session.get_providers() else None


def import_onnxruntime() -> ModuleType:
    """onnxruntime, or MissingExtra; RuntimeClash where both of its distributions are installed (microsoft/onnxruntime#26996)."""
    if _distributions(tuple(sys.path)) >= {"onnxruntime", "onnxruntime_gpu"}:
        raise RuntimeClash(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files. Mend it with:\n"
            "  pip uninstall -y onnxruntime onnxruntime-gpu\n"
            '  pip install "emoser[gpu]"    (or "emoser[cpu]")'
        )
    # Its wheels report to Microsoft, from the import on (1.31: a queue in the user's cache folder, sent after ten seconds). Nothing but
    # this variable comes early enough.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("Running an ONNX checkpoint", "cpu") from error
    onnxruntime.disable_telemetry_events()  # someone may have imported it before
    return onnxruntime  # type: ignore[no-any-return]


@lru_cache(maxsize=1)  # a prediction opens three files
def _distributions(places: tuple[str, ...]) -> set[str]:
    """Those that are installed, by their records. importlib.metadata knows too, but to import it takes a twentieth of the time in which a
    first prediction is there."""
    return {record.name.split("-")[0] for place in places for record in Path(place).glob("onnxruntime*.dist-info")}


def _port(node: Any) -> Port:
    return Port(node.name, TYPES.get(node.type, node.type), tuple(node.shape))


def _reference(session: Any, path: Path) -> Reference | None:
    """What the file says of its training clips, if it can be adapted."""
    text = session.get_modelmeta().custom_metadata_map.get(REFERENCE_KEY)
    if not text:
        return None
    reference = Reference.from_text(text)
    shapes = {node.name: list(node.shape) for node in session.get_overridable_initializers()}
    width = len(reference.deviation)
    if any(shapes.get(name) != [width] for name in (SCALE, SHIFT)) or POOLED not in (node.name for node in session.get_outputs()):
        raise CheckpointError(f"{path}: it carries an adaptation reference of {width} values, but not the inputs and the output to use it")
    return reference


def _metadata(session: Any, path: Path) -> Mapping[str, Any]:
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    return parse_metadata(text, path)


def parse_metadata(text: str | bytes | None, path: Path) -> Mapping[str, Any]:
    """The JSON object that a file carries; {} where it carries none."""
    if not text:
        return {}
    try:
        data = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{path}: its {KEY} metadata is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: its {KEY} metadata is not a JSON object")
    return data


def check_whole(path: Path, metadata: Mapping[str, Any]) -> None:
    """Raises CheckpointError for a file that says it is one of several of its checkpoint."""
    if role := metadata.get("role"):
        raise CheckpointError(f"{path} is the {role} of a checkpoint of several files; give the checkpoint's name or folder")


def check_interface(path: Path, what: str, expected_ports: Ports, found_ports: Ports) -> None:
    """Raises CheckpointError where the inputs and outputs of a file are not those of `what`."""
    for kind, wanted, there in zip(("inputs", "outputs"), expected_ports, found_ports, strict=True):
        expected = {(port.name, port.dtype, len(port.shape)) for port in wanted}
        if {(port.name, port.dtype, len(port.shape)) for port in there if port.name != POOLED} != expected:
            raise CheckpointError(
                f"{path} is not {what}: its {kind} are {'; '.join(map(str, there))}; expected {'; '.join(map(str, wanted))}"
            )
