"""What a recipe of the task `transducer` holds beside the sections of every recipe (training/recipe.py)."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.folds import KINDS
from training.mixing import FADE, NEUTRAL
from training.recipe import Recipe, RecipeError
from training.systems.transducer.losses import Pooling

SYSTEMS = ("ent", "fent", "framewise")
VOCABULARIES = ("characters", "english", "pieces")  # english: the paper's 31, whatever the texts hold


@dataclass(frozen=True)
class Weights:
    """Of the losses. The paper's: 0.5, 0.5, 0.5, and 0 for the language model."""

    head: float = 0.5
    rnnt: float = 0.5
    lattice: float = 0.5
    language: float = 0.0
    mixture_head: float = 0.0
    mixture_lattice: float = 0.0


@dataclass(frozen=True)
class Mixtures:
    """Concatenations of the recipe's own clips (training/mixing.py): those of validation speakers select and calibrate, those of training
    speakers teach boundaries where `share` is more than 0."""

    share: float = 0.0  # of the clips of a batch
    speaker_limit: int = 60  # training mixtures a speaker, at most
    validation_limit: int = 20
    fade: float = FADE  # s
    block_diagonal: bool = False  # of the lattice loss: nodes of a part's frames and tokens alone, and not the L of either
    seed: int = 1


@dataclass(frozen=True)
class Options:
    """The network and how it is taught. A text counts where its corpus is in `transcripts`; other clips teach emotions alone."""

    system: str = "ent"
    transcripts: tuple[str, ...] = ()
    vocabulary: str = "characters"
    pieces: int = 300  # of sentencepiece, at most
    # sizes: the paper's are 384, 640, 768
    hidden: int = 128  # of the LSTM, in each direction
    predictor: int = 128
    inner: int = 256
    pre_projection: bool = True
    dropout: float = 0.1
    standardise: bool | None = None  # False: layers as the encoder gives them, the paper's; None: each channel standardised
    # data
    folds: dict[str, str] | None = None  # corpus -> KIND/NUMBER of training/folds.py, in place of the recipe's split
    labelled_only: bool | None = None  # True: clips of no label of ours do not teach the transcript either
    # training
    longest: float = 8.0  # s; clips with text beyond are left out, others are cut to it at random
    specaugment: bool = True  # spans of model.specaugment; the paper has none over a frozen encoder
    weights: Weights = field(default_factory=Weights)
    pooling: Pooling = field(default_factory=Pooling)
    mixtures: Mixtures = field(default_factory=Mixtures)
    # decoding while training
    cap: int = 8  # tokens a frame, at most
    most: float = 30.0  # tokens a second, at most


@dataclass(frozen=True)
class TransducerRecipe(Recipe):
    task: str = "transducer"
    transducer: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        options = self.transducer
        if options.system not in SYSTEMS:
            raise RecipeError(f"transducer.system is {options.system!r}; allowed: {', '.join(SYSTEMS)}")
        if options.vocabulary not in VOCABULARIES:
            raise RecipeError(f"transducer.vocabulary is {options.vocabulary!r}; allowed: {', '.join(VOCABULARIES)}")
        if self.data.more_labels:
            raise RecipeError("data.more_labels: a transducer trains data.labels; clips with others train its transcript alone")
        if NEUTRAL not in self.data.labels:
            raise RecipeError(f"data.labels of a transducer need {NEUTRAL!r}: an emotional clip is neutral somewhere")
        unknown = sorted(set(options.transcripts) - set(self.data.corpora))
        if unknown:
            raise RecipeError(f"transducer.transcripts names {', '.join(unknown)}, which data.corpora does not")
        if self.augmentation.chances.cut and options.transcripts:
            raise RecipeError("augmentation.chances.cut must be 0: a clip that is cut no longer says its text")
        for corpus, fold in (options.folds or {}).items():
            kind, _, number = str(fold).partition("/")
            if corpus not in self.data.corpora or kind not in KINDS or not number:
                raise RecipeError(f"transducer.folds: {corpus}: {fold!r} is no KIND/NUMBER of a corpus of the recipe; {', '.join(KINDS)}")
        if not 0 <= options.mixtures.share < 1:
            raise RecipeError(f"transducer.mixtures.share is {options.mixtures.share}; it lies in [0, 1)")

    @property
    def neutral(self) -> int:
        return self.data.labels.index(NEUTRAL)
