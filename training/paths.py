"""Where training finds its inputs: corpora, start weights, and EmoBox's folds.

For each: the value given by a flag, else an environment variable, else a folder beside the clone if it is there. Nothing is downloaded:
what is missing is an error that names the official source and the licence.

| input | flag | environment | beside the clone |
|---|---|---|---|
| corpora, one folder each | --corpora | EMOSER_CORPORA | ../shared/corpora |
| start weights | --weights | EMOSER_WEIGHTS | ../shared/weights |
| EmoBox's folds, one JSON file | | EMOSER_EMOBOX_FOLDS | ../shared/systems/emobox_folds.json |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from emoser.errors import EmoserError

CLONE = Path(__file__).resolve().parents[1]
BESIDE = CLONE.parent / "shared"


class MissingInputError(EmoserError):
    """A corpus or a file of weights that training needs is not there."""

    exit_code = 3

    def __init__(self, what: str, looked: str, source: str, licence: str) -> None:
        super().__init__(f"{what} not found: {looked}. Official source: {source}. Licence: {licence}")


@dataclass(frozen=True)
class Weights:
    """A file of start weights: where it is from and on what terms."""

    file: str
    source: str
    licence: str


WEIGHTS = {
    "whisper-tiny-en": Weights(
        "whisper_tiny_en_encoder_fp16.npz", "the encoder of OpenAI Whisper tiny.en, https://github.com/openai/whisper", "MIT"
    ),
    "efficientat-mn04": Weights("efficientat_mn04_as_fp32.npz", "EfficientAT mn04_as, https://github.com/fschmid56/EfficientAT", "MIT"),
    **{
        name: Weights(f"{name}/model.safetensors", f"https://huggingface.co/{repository} (config.json beside it)", licence)
        for name, repository, licence in (
            ("wav2vec2-base", "facebook/wav2vec2-base", "Apache-2.0"),
            ("wav2vec2-large", "facebook/wav2vec2-large-lv60", "Apache-2.0"),
            ("hubert-base", "facebook/hubert-base-ls960", "Apache-2.0"),
            ("hubert-large", "facebook/hubert-large-ll60k", "Apache-2.0"),
            ("wavlm-base", "microsoft/wavlm-base", "CC BY-SA 3.0"),
            ("wavlm-base-plus", "microsoft/wavlm-base-plus", "CC BY-SA 3.0"),
            ("wavlm-large", "microsoft/wavlm-large", "CC BY-SA 3.0"),
        )
    },
    "silero-vad": Weights("silero_vad_16k_fp32.npz", "Silero VAD, 16 kHz, https://github.com/snakers4/silero-vad", "MIT"),
}


def corpora_root(given: str | Path | None = None) -> Path | None:
    """The folder that holds one folder for each corpus, or None where there is none."""
    return located(given, "EMOSER_CORPORA", BESIDE / "corpora")


def weights_root(given: str | Path | None = None) -> Path | None:
    """The folder of start weights, or None where there is none."""
    return located(given, "EMOSER_WEIGHTS", BESIDE / "weights")


def corpus(name: str, source: str, licence: str, given: str | Path | None = None, folders: tuple[str, ...] = ()) -> Path:
    """The folder of one corpus: `name`, or one of `folders` (the names that official archives unpack to), in the corpora root."""
    root = corpora_root(given)
    for folder in (name, *folders):
        if root is not None and (root / folder).is_dir():
            return root / folder
    raise MissingInputError(f'corpus "{name}"', looked(root, name, "--corpora", "EMOSER_CORPORA"), source, licence)


def weights(name: str, given: str | Path | None = None) -> Path:
    """One file of start weights by its name in WEIGHTS."""
    if name not in WEIGHTS:
        raise KeyError(f'no weights are called "{name}"; there are {", ".join(WEIGHTS)}')
    entry = WEIGHTS[name]
    root = weights_root(given)
    if root is None or not (root / entry.file).is_file():
        raise MissingInputError(f'weights "{name}"', looked(root, entry.file, "--weights", "EMOSER_WEIGHTS"), entry.source, entry.licence)
    return root / entry.file


def emobox_folds(given: str | Path | None = None) -> Path:
    """The JSON file of EmoBox's folds (its form: `training.corpora.emobox_folds`)."""
    found = located(given, "EMOSER_EMOBOX_FOLDS", BESIDE / "systems" / "emobox_folds.json")
    if found is None or not found.is_file():
        where = f"no file {found}" if found else "EMOSER_EMOBOX_FOLDS is not set"
        raise MissingInputError("EmoBox's folds", where, "the fold lists of https://github.com/emo-box/EmoBox (data/)", "MIT by its README")
    return found


def located(given: str | Path | None, variable: str, beside: Path) -> Path | None:
    """An explicit place is taken as it is, there or not, so that a mistyped one is an error and not silently another folder."""
    chosen = given or os.environ.get(variable)
    if chosen:
        return Path(chosen).expanduser()
    return beside if beside.exists() else None


def looked(root: Path | None, name: str, flag: str, variable: str) -> str:
    if root is None:
        return f"give its parent folder with {flag} or {variable}"
    return f"there is no {root / name} (the folder comes from {flag} or {variable})"
