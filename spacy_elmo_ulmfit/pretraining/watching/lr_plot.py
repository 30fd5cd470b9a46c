"""The picture of a learning rate range test."""

from pathlib import Path
from typing import Any

from ...replacing import replacing
from .lr_range import RangeTest


def check_plot(path: Path) -> None:
    """Make sure that a picture can be drawn, before there is anything to draw.

    path (Path): File of the picture.
    RAISES (ValueError): If matplotlib is not installed, or knows no such file.
    """
    known = _figure().canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in known:
        raise ValueError(
            f"{path} has no ending of a picture. Give a name that ends in one of "
            f"{', '.join(sorted(known))}."
        )
    if path.is_dir():
        raise ValueError(f"{path} is a directory. Give the name of a file in it.")


def plot_range_test(found: RangeTest, path: Path) -> None:
    """Draw losses over rates, with the rates that are suggested.

    found (RangeTest): What the test found.
    path (Path): File of the picture.
    """
    figure = _figure()
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color="#1f66a8")
    for (name, rate), color in zip(found.suggestions().items(), ("#c2611a", "#4f9a94")):
        loss = found.losses[found.rates.index(rate)]
        axes.plot([rate], [loss], "o", color=color, label=f"{name}: {rate:.2g}")
    axes.set_xscale("log")
    # What explodes at the end would flatten the valley.
    drop = found.losses[0] - min(found.losses)
    axes.set_ylim(top=min(max(found.losses), found.losses[0] + drop) + 0.1)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss, smoothed (nats)")
    axes.grid(color="#eeece6")
    axes.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".").lower(), dpi=150)


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            "The picture is drawn by matplotlib, which is not installed: "
            "pip install 'spacy-elmo-ulmfit[plots]'"
        ) from error
    return Figure(figsize=(7, 4), layout="constrained")
