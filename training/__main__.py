"""`python -m training COMMAND`: everything that makes a checkpoint. `python -m training COMMAND --help` says more of each."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from emoser.errors import EmoserError

if TYPE_CHECKING:
    from training.recipe import Recipe
    from training.runs import Places


def main(argv: list[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    if arguments[:1] == ["corpora"]:
        from training.corpora import main as corpora

        return corpora(arguments[1:])
    if arguments[:1] == ["mix"]:
        from training.mixing import main as mix

        return mix(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("corpora", help="which corpora are found where, with counts and licences")
    commands.add_parser("mix", help="concatenate clips into recordings whose emotion changes, with exact references")
    for name, text in (
        ("features", "compute and cache the states of the frozen blocks"),
        ("fit", "train a recipe, or go on where a killed run stopped"),
        ("evaluate", "score a trained run on its test speakers"),
        ("export", "write a trained run as ONNX and TorchScript and register it"),
        ("unseen", "the recipe once for each corpus left out, tested on that corpus"),
        ("pretrain", "go on training the encoder without labels (a recipe of task: pretraining)"),
        ("crossval", "the recipe on every fold of a corpus, with a report"),
        ("reproduce", "fit, evaluate and export anew, and compare with the committed record"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("recipe", help="a file, or the name of one in training/recipes")
        command.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", dest="overrides")
        command.add_argument("--name", help="of the run; the recipe's name if not given")
        command.add_argument("--corpora", type=Path, help="folder with one folder a corpus (else EMOSER_CORPORA)")
        command.add_argument("--weights", type=Path, help="folder of start weights (else EMOSER_WEIGHTS)")
        command.add_argument("--runs", type=Path, help="folder for runs (else runs/ in the clone)")
        command.add_argument("--cache", type=Path, help="folder for cached states (else cache/features in the clone)")
        command.add_argument("--workers", type=int, help="processes that compute features (else one a core)")
        if name == "crossval":
            _crossval_options(command)
        if name == "unseen":
            command.add_argument("--scores-only", action="store_true", help="export nothing")
    ensemble = commands.add_parser("ensemble", help="register the mean of several checkpoints")
    ensemble.add_argument("name")
    ensemble.add_argument("--members", nargs="+", required=True, help="names of the registry")
    ensemble.add_argument("--revision", default="1", help="another one where the members change")
    ensemble.add_argument("--figures", type=Path, help="what benchmarks.accuracy.evaluate measured of it; none are registered without")
    options = parser.parse_args(arguments)
    return _ensemble(options) if options.command == "ensemble" else _run(options)


def _crossval_options(command: argparse.ArgumentParser) -> None:
    from training.folds import KINDS

    kinds = "; ".join(f"{name}: {kind.text}" for name, kind in KINDS.items())
    command.add_argument("--corpus", required=True, help="the corpus that is tested")
    command.add_argument("--folds", required=True, choices=list(KINDS), metavar="KIND", help=kinds)
    command.add_argument("--groups", type=int, default=5, help="of --folds speakers; 5 if not given")
    command.add_argument("--seeds", type=int, nargs="+", default=[42], help="each trains every fold once; 42 if not given")
    command.add_argument("--labels", nargs="+", default=[], help="those of the corpus if not given")
    command.add_argument("--only", nargs="+", default=[], metavar="FOLD", help="some folds only, by number or name")
    command.add_argument(
        "--multi-corpus",
        default="",
        choices=["beside", "before"],
        help="the recipe's other corpora: their training speakers train beside the fold's, or the run without this corpus did before",
    )
    choices = "on whom the kept step is chosen; nothing: validation speakers train too, and the last step is kept"
    command.add_argument("--select", default="validation", choices=["validation", "nothing", "test-as-published"], help=choices)


def _run(options: argparse.Namespace) -> int:
    from training import runs
    from training.recipe import RecipeError, read_recipe

    given = {name: getattr(options, name) for name in ("corpora", "weights", "runs", "cache", "workers")}
    places = runs.Places(**{name: value for name, value in given.items() if value is not None})
    try:
        recipe = read_recipe(options.recipe, options.overrides, options.name)
        if recipe.task == "transducer":
            from training.systems.transducer.commands import run

            run(options.command, recipe, places)
        elif options.command == "features":
            runs.prepare(recipe, places)
        elif options.command == "fit":
            runs.run_fit(recipe, places)
        elif options.command == "evaluate":
            runs.run_evaluate(recipe, places)
        elif options.command == "export":
            from training.export import run_export

            run_export(recipe, places)
        elif options.command == "pretrain":
            from training.pretrain import run_pretrain

            run_pretrain(recipe, places)
        elif options.command == "crossval":
            _crossval(recipe, places, options)
        elif options.command == "unseen":
            from training.unseen import run_unseen

            run_unseen(recipe, places, files_too=not options.scores_only)
        else:
            from training.reproduce import run_reproduce

            return run_reproduce(recipe, places)
    except (EmoserError, RecipeError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    return 0


def _ensemble(options: argparse.Namespace) -> int:
    from training.ensemble import run_ensemble

    try:
        run_ensemble(options.name, options.members, revision=options.revision, figures=options.figures)
    except (EmoserError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    return 0


def _crossval(recipe: Recipe, places: Places, options: argparse.Namespace) -> None:
    from training.crossval import Protocol, run_crossval
    from training.report import report

    several = {name: tuple(getattr(options, name)) for name in ("seeds", "labels", "only")}
    protocol = Protocol(options.corpus, options.folds, options.groups, select=options.select, multi_corpus=options.multi_corpus, **several)
    found = run_crossval(recipe, places, protocol)
    report(recipe, protocol, found.labels, found.scores, found.folder, found.folds)
    print((found.folder / "report.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    raise SystemExit(main())
