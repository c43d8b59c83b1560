"""emoser download"""

from __future__ import annotations

import click


@click.command(
    short_help="Fetch a checkpoint from its hub.",
    epilog="""\b
Examples:
  emoser download shiftcnn
  emoser download hf://owner/repository@v1
  emoser predict clip.wav -m "$(emoser download shiftcnn --precision int8)" --offline
""",
)
@click.argument("name", metavar="NAME|ADDRESS")
@click.option("--runtime", type=click.Choice(["onnx", "torchscript"]), default="onnx", show_default=True, help="Which file.")
@click.option("--precision", type=click.Choice(["fp16", "int8", "fp32"]), help="Which file, where there are several.")
def download(name: str, runtime: str, precision: str | None) -> int:
    """Fetch a checkpoint from its hub into the cache, check its sha256, and print where it lies; of several files, one a line.

    Afterwards it works offline under the same name. What came with emoser needs no download.
    """
    from emoser.resolving import locate

    found = locate(name, runtime=runtime, precision=precision)
    folder = found.checkpoint.folder if found.checkpoint else None
    if folder is not None and all(path.is_relative_to(folder) for path in found.files):
        click.echo(f"{name} is here already, nothing was downloaded", err=True)
    for path in found.files:
        click.echo(path)
    return 0
