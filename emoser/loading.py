"""Name or path -> a model ready to use: the one place that joins checkpoints, runtimes and models."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from emoser.checkpoints import Checkpoint, describe
from emoser.errors import CheckpointError, UsageError
from emoser.resolving import Resolved, ResolvedEnsemble, locate

if TYPE_CHECKING:
    from emoser.diarization.activity import SpeechActivity
    from emoser.models.utterance import UtteranceModel
    from emoser.runtimes import Runtime

DEFAULT = "shiftcnn"
RUNTIMES = ("onnx", "torchscript")
PRECISIONS = ("fp16", "int8", "fp32")


def load(
    name_or_path: str | os.PathLike[str] = DEFAULT,
    *,
    device: str = "auto",
    runtime: str = "onnx",
    precision: str | None = None,
    threads: int | None = None,
    offline: bool = False,
) -> UtteranceModel:
    """A model, ready to use: `emoser.load()("clip.wav")`.

    name_or_path: a name of `list_checkpoints()`, a folder with a checkpoint.yaml, an .onnx or TorchScript file, or
        hf://owner/repository@revision.
    device: auto (a GPU where one can be used, else the CPU), cpu, or cuda.
    runtime: onnx, or torchscript (needs the extra "torch").
    precision: fp16, int8 or fp32, where the checkpoint has more than one; the first it lists if not given.
    threads: threads of the CPU, at most 1024; those that the process may use if not given.
    offline: never open a socket; what is neither installed nor in the cache is a DownloadError.

    Raises CheckpointError and its kinds (exit code 3 of the command line), DeviceError, MissingExtra, RuntimeClash, UsageError.
    """
    _one_of("runtime", runtime, RUNTIMES)
    if precision is not None:
        _one_of("precision", precision, PRECISIONS)
    return opened(locate(name_or_path, runtime=runtime, precision=precision, offline=offline), device, threads)


def opened(found: Resolved | ResolvedEnsemble, device: str = "auto", threads: int | None = None) -> UtteranceModel:
    """The model behind files that were found already. Raises as `load`."""
    from emoser.adaptation import Adaptation
    from emoser.models.utterance import UtteranceModel

    if isinstance(found, ResolvedEnsemble):
        from emoser.models.ensemble import EnsembleModel  # a first prediction by one checkpoint need not wait for it

        members = [opened(member, device, threads) for member in found.members]
        return EnsembleModel(found.checkpoint, members, speech=_speech_activity(found.checkpoint.sample_rate))
    if found.checkpoint is not None and found.checkpoint.task == "transducer":
        return _transducer(found, found.checkpoint, device, threads)
    runtime = _opened(found, device, threads)
    checkpoint = found.checkpoint or describe(dict(runtime.metadata), str(found.path))
    if runtime.metadata and tuple(runtime.metadata.get("labels", ())) != checkpoint.labels:
        raise CheckpointError(f"{found.path}: labels {runtime.metadata.get('labels')} inside, {list(checkpoint.labels)} in the registry")
    precision = found.part.precision if found.part else None
    speech = _speech_activity(checkpoint.sample_rate)
    activity = speech.holds_speech if speech else None
    model = UtteranceModel(checkpoint, runtime, sha256=found.sha256, precision=precision, activity=activity, speech=speech, source=found)
    return model if found.adaptation is None else model.adapted(Adaptation.read(found.adaptation))


def _opened(found: Resolved, device: str, threads: int | None) -> Runtime:
    """The file or files of an utterance checkpoint."""
    from emoser.runtimes import open_runtime
    from emoser.runtimes.readouts import open_parts

    if found.checkpoint is None or not found.others:
        return open_runtime(found.path, found.format, device=device, threads=threads)
    return open_parts(dict(found.others)["encoder"], found.path, found.format, frame=found.checkpoint.frame, device=device, threads=threads)


def _transducer(found: Resolved, entry: Checkpoint, device: str, threads: int | None) -> UtteranceModel:
    from emoser.models.transducing import Decoder, TransducerModel
    from emoser.runtimes.parts import Graph, open_part
    from emoser.runtimes.sharing import open_encoder

    files = {"encoder": found.path, **dict(found.others)}
    graphs: dict[str, Graph] = {"encoder": open_encoder(found.path, found.format, device=device, threads=threads)}
    graphs |= {role: open_part(role, path, found.format, device=device, threads=threads) for role, path in found.others}
    for role, graph in graphs.items():
        for name, expected in (("labels", entry.labels), ("symbols", entry.symbols)):
            if role != "encoder" and graph.metadata and tuple(graph.metadata.get(name, ())) != expected:
                raise CheckpointError(f"{files[role]}: its {name} are not those that the registry gives")
    precision = found.part.precision if found.part else None
    speech = _speech_activity(entry.sample_rate)
    activity = speech.holds_speech if speech else None
    return TransducerModel(
        entry, Decoder(entry, graphs), sha256=found.sha256, precision=precision, activity=activity, speech=speech, source=found
    )


def _speech_activity(sample_rate: int) -> SpeechActivity | None:
    """For the warning `no_speech` and for diarization; None where TorchScript stands alone, without onnxruntime."""
    from emoser.audio import SAMPLE_RATE
    from emoser.diarization.activity import SpeechActivity

    return SpeechActivity() if sample_rate == SAMPLE_RATE and find_spec("onnxruntime") else None


def version() -> str:
    """The installed version; a clone that was never installed says so."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("emoser")
    except PackageNotFoundError:
        return "0+source"


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{option} is {value!r}; allowed: {', '.join(allowed)}")
