"""Calibrated speech emotion recognition, offline on a CPU: `emoser.load()("clip.wav")` gives a `Prediction`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emoser.audio import Clip, load_audio
    from emoser.checkpoints import Checkpoint
    from emoser.errors import EmoserError
    from emoser.loading import load
    from emoser.models.utterance import UtteranceModel
    from emoser.registry import list_checkpoints
    from emoser.results import Diarization, Embedding, Failure, Prediction, Segment

    __version__: str

__all__ = ["Checkpoint", "Clip", "Diarization", "Embedding", "EmoserError", "Failure", "Prediction", "Segment", "UtteranceModel"]
__all__ += ["list_checkpoints", "load", "load_audio"]
_HOME = {"Clip": "audio", "load_audio": "audio", "Checkpoint": "checkpoints", "list_checkpoints": "registry", "EmoserError": "errors"}
_HOME |= {"UtteranceModel": "models.utterance", "load": "loading"}
_HOME |= dict.fromkeys(("Diarization", "Embedding", "Failure", "Prediction", "Segment"), "results")


def __getattr__(name: str) -> Any:  # a name costs what it needs when it is first used (PEP 562), and `import emoser` nothing
    if name == "__version__":
        return import_module("emoser.loading").version()
    if name not in _HOME:
        raise AttributeError(f"module 'emoser' has no attribute {name!r}")
    return getattr(import_module(f"emoser.{_HOME[name]}"), name)
