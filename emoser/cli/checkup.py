"""What `emoser doctor` looks at. Each examination yields `Check`s; one that breaks is itself an error, and the others go on."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from emoser.checkpoints import Checkpoint
    from emoser.runtimes import Runtime

TOLERANCE = 1e-3  # of a logit against the registry's golden value
PACKAGES = ("numpy", "soxr", "click", "rich", "pyyaml", "huggingface_hub")
EXTRAS = {"torch": "torch", "av": "media", "sounddevice": "live", "matplotlib": "plot"}
READ = ("WAV", "FLAC", "OGG", "MP3", "AIFF")
CLASH = 'pip uninstall -y onnxruntime onnxruntime-gpu && pip install "emoser[cpu]" (or "emoser[gpu]")'


@dataclass(frozen=True)
class Check:
    """ok, error, or absent: something optional that is not installed."""

    name: str
    status: Literal["ok", "error", "absent"]
    value: str
    advice: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> Iterator[Check]:
    """All checks, as they are made."""
    for examination in (_python, _packages, _sound, _onnxruntime, _extras, _caches, _speech, _checkpoints):
        yield from _guarded(examination)


def _guarded(examination: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    checks = examination()
    while True:
        try:
            yield next(checks)
        except StopIteration:
            return
        except Exception as error:  # a broken installation breaks anywhere; to report it is what this is for
            yield Check(examination.__name__.strip("_"), "error", f"{type(error).__name__}: {error}", "Install emoser again")
            return


def _python() -> Iterator[Check]:
    from emoser import __version__

    yield Check("emoser", "ok", __version__)
    old = sys.version_info < (3, 11)
    advice = "emoser needs Python 3.11 or later" if old else None
    yield Check("python", "error" if old else "ok", f"{platform.python_version()} on {platform.platform()}", advice)


def _packages() -> Iterator[Check]:
    for name in PACKAGES:
        version = _version(name)
        yield Check(name, "ok", version) if version else Check(name, "error", "not installed", f"pip install {name}")


def _sound() -> Iterator[Check]:
    import soundfile

    yield Check("soundfile", "ok", f"{soundfile.__version__}, libsndfile {soundfile.__libsndfile_version__}")
    known = soundfile.available_formats()
    read = [name for name in READ if name in known]
    read += ["OPUS"] if "OGG" in known and "OPUS" in soundfile.available_subtypes("OGG") else []
    missing = [name for name in (*READ, "OPUS") if name not in read]
    advice = f"this libsndfile does not read {', '.join(missing)}: pip install --force-reinstall soundfile" if missing else None
    yield Check("audio formats", "error" if missing else "ok", " ".join(read), advice)


def _onnxruntime() -> Iterator[Check]:
    there = [f"{name} {version}" for name in ("onnxruntime", "onnxruntime-gpu") if (version := _version(name))]
    if not there:
        yield Check("onnxruntime", "error", "not installed", 'pip install "emoser[cpu]"')
        return
    if len(there) > 1:
        yield Check("onnxruntime", "error", f"{' and '.join(there)} overwrite each other's files", CLASH)
        return
    from emoser.runtimes.device import usable_threads
    from emoser.runtimes.onnx import import_onnxruntime

    yield Check("onnxruntime", "ok", there[0])
    yield Check("providers", "ok", f"{', '.join(import_onnxruntime().get_available_providers())}; {usable_threads()} threads")


def _extras() -> Iterator[Check]:
    for name, extra in EXTRAS.items():
        version = _version(name)
        yield Check(name, "ok", version) if version else Check(name, "absent", f'not installed; extra "{extra}"')


def _caches() -> Iterator[Check]:
    from huggingface_hub import constants

    from emoser.digests import cache_folder

    for name, folder, variable in (
        ("cache", cache_folder(), "EMOSER_CACHE"),
        ("hub cache", Path(constants.HF_HUB_CACHE), "HF_HOME"),
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"emoser")
        except OSError as error:
            yield Check(name, "error", f"{folder}: {error.strerror}", f"set {variable} to a folder that can be written")
        else:
            yield Check(name, "ok", str(folder))


def _speech() -> Iterator[Check]:
    from emoser.audio import tone
    from emoser.diarization.activity import CHUNK, SHA256, SpeechActivity, bundled_file

    path = bundled_file()
    if wrong := _wrong_file(path, SHA256):
        yield Check("speech activity", "error", wrong, "install emoser again")
        return
    probabilities = SpeechActivity().speech_probabilities(tone())
    # A chord is no speech: the model must run, and say so.
    well = len(probabilities) == -(-len(tone()) // CHUNK) and bool((probabilities < 0.5).all())
    yield Check("speech activity", "ok" if well else "error", "sha256 and output as expected" if well else f"answers {probabilities}")


def _checkpoints() -> Iterator[Check]:
    from emoser.registry import list_checkpoints, registry_file

    entries = list_checkpoints()
    yield Check("registry", "ok", f"{len(entries)} checkpoints in {registry_file()}")
    whole: set[str] = set()  # the entries whose ONNX files are all here, as they should be
    for entry in entries:
        intact = True
        for part in entry.parts:
            path = entry.folder / part.path
            own = entry.name if part.role == "model" else f"{entry.name} {part.role}"
            name = own if part.format == "onnx" else f"{own} ({part.format})"
            if not path.is_file() and (entry.hub is not None or part.format == "torchscript"):
                intact = intact and part.format != "onnx"
                continue  # not part of this installation
            if wrong := _wrong_file(path, part.sha256):
                intact = intact and part.format != "onnx"
                yield Check(name, "error", wrong, "install emoser again")
            elif part.role == "model" and part.format == "onnx" and part.precision != "int8":
                yield from _guarded(lambda entry=entry, path=path, name=name: _golden(name, path, entry))  # type: ignore[misc]
            else:
                yield Check(name, "ok", f"{path.name}: sha256 as in the registry")
        if intact and entry.parts:
            whole.add(entry.name)
        if entry.task == "transducer" and intact:
            yield from _guarded(lambda entry=entry: _golden_text(entry))  # type: ignore[misc]
        elif intact and any(part.role == "readout" for part in entry.parts):
            yield from _guarded(lambda entry=entry: _golden_parts(entry))  # type: ignore[misc]
    for entry in entries:
        if entry.members and whole.issuperset(entry.members):
            yield from _guarded(lambda entry=entry: _golden_ensemble(entry))  # type: ignore[misc]


def _golden(name: str, path: Path, entry: Checkpoint) -> Iterator[Check]:
    from emoser.runtimes import open_runtime

    yield _compared(name, f"{path.name}: sha256 as in the registry,", _apart(open_runtime(path, "onnx", device="cpu"), entry))


def _golden_parts(entry: Checkpoint) -> Iterator[Check]:
    """The read-outs with the encoder."""
    from emoser.runtimes.readouts import open_parts

    for part in entry.parts:
        if (part.role, part.format) != ("readout", "onnx"):
            continue
        readout, encoder = (entry.folder / each.path for each in entry.files("onnx", part.precision))
        opened = open_parts(encoder, readout, "onnx", frame=entry.frame, device="cpu")
        yield _compared(entry.name, "both parts together:", _apart(opened, entry))


def _golden_ensemble(entry: Checkpoint) -> Iterator[Check]:
    from emoser.loading import load

    yield _compared(entry.name, "its members together:", _apart(load(entry.name, device="cpu", offline=True).opened, entry))


def _compared(name: str, what: str, apart: float) -> Check:
    """`apart`: how far the logits of the golden tone are from the known ones."""
    if apart <= TOLERANCE:
        return Check(name, "ok", f"{what} output within {max(apart, 1e-7):.0e}")
    return _otherwise(name, f"{what} output is {apart:.2g} off the known values, at most {TOLERANCE:g} is allowed")


def _apart(opened: Runtime, entry: Checkpoint) -> float:
    """How far the logits of the golden tone are from the known ones, which are those of the adapted model where the entry is of one."""
    import numpy as np

    from emoser.adaptation import Adaptation
    from emoser.audio import tone
    from emoser.runtimes import Adaptable

    for part in entry.parts:
        if part.role == "adaptation" and isinstance(opened, Adaptable):
            opened = opened.adapted(Adaptation.read(entry.folder / part.path))
    waveform = tone()
    outputs = opened.run(waveform[None], np.array([len(waveform)], np.int64))
    return float(np.abs(outputs["logits"][0] - np.array(entry.golden.logits)).max())


def _golden_text(entry: Checkpoint) -> Iterator[Check]:
    """A transducer as a whole: what it says and writes of the golden tone."""
    import numpy as np

    from emoser.audio import tone
    from emoser.checkpoints import ROLES
    from emoser.models.transducing import Decoder
    from emoser.runtimes.parts import open_part

    waveform = tone()
    files = dict(zip(ROLES, entry.files("onnx"), strict=True))
    decoder = Decoder(entry, {role: open_part(role, entry.folder / part.path, "onnx", device="cpu") for role, part in files.items()})
    (heard,) = decoder.hear(waveform[None], np.array([len(waveform)], np.int64))
    apart = float(np.abs(heard.logits - np.array(entry.golden.logits)).max())
    same = entry.golden.tokens in (None, heard.hypothesis.tokens)
    if apart <= TOLERANCE and same:
        yield Check(entry.name, "ok", f"all parts together: tokens as known, output within {max(apart, 1e-7):.0e}")
    else:
        text = "" if same else ", and the tokens are others"
        yield _otherwise(entry.name, f"all parts together: output is {apart:.2g} off the known values ({TOLERANCE:g} is allowed){text}")


def _otherwise(name: str, value: str) -> Check:
    advice = f"this processor or this onnxruntime computes otherwise (machine: {platform.machine()}); please report it"
    return Check(name, "error", value, advice)


def _wrong_file(path: Path, sha256: str) -> str | None:
    """What is wrong with it. Read anew, whatever is remembered: a disk may have changed it since."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{path}: {error.strerror or os.strerror(error.errno or 0)}"
    return None if digest == sha256 else f"{path}: sha256 {digest}, expected {sha256}"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
