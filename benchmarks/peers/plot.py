"""A picture of the peers' times."""

from __future__ import annotations

from typing import Any

from microgradx.demo import picture_format

from ..report import seconds_with_unit, short
from .contestants import MICROGRADX, Peer
from .report import Result
from .workloads import DIGITS, GPT, MOONS, MOONS_SGD

SUBTITLES = {
    MOONS: "micrograd's demo",
    MOONS_SGD: "the same with inputs made once and optim.SGD",
    GPT: "micrograd and microgradx in scalars, the others in tensors",
    DIGITS: "MLP(64, [32, 10]), 1,797 images in batches of 32",
}
ORANGE, BLUE, INK, FAINT, GRID = "#e8743b", "#a9bfd6", "#333333", "#777777", "#e6e6e6"


def draw(result: Result, path: str) -> None:
    """Draw a panel for each workload, with a bar for each peer, all to one logarithmic scale."""
    # A figure without pyplot needs no display and leaves a notebook's backend alone.
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    times = [min(rounds) for peers in result.samples.values() for rounds in peers.values()]
    figure = Figure(figsize=(9, 6), dpi=150, layout="constrained")
    gaps = {"hspace": 0.08, "wspace": 0.05}
    panels = figure.subplots(2, 2, sharex=True, sharey=True, gridspec_kw=gaps)
    for axes, workload in zip(panels.flat, result.samples, strict=True):
        _draw_workload(axes, result, workload)
    axes.set_xlim(min(times) / 2, max(times) * 12)
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    axes.invert_yaxis()
    figure.suptitle("Training in float64 on one thread", color=INK, fontsize=13)
    quantity = f"time, and its ratio to {result.unit}'s"
    figure.supxlabel(f"{quantity}; shorter is faster", color=FAINT, fontsize=9)
    # Neither the date nor random identifiers: the same result is the same file.
    with rc_context({"svg.hashsalt": "microgradx"}):
        kind = picture_format(path)
        figure.savefig(path, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _draw_workload(axes: Any, result: Result, workload: str) -> None:
    axes.set_title(_capitalised(workload), loc="left", color=INK, size=11, weight="bold", pad=20)
    axes.text(0, 1.03, SUBTITLES[workload], transform=axes.transAxes, color=FAINT, size=8.5)
    axes.set_xscale("log")
    for place, peer in enumerate(result.peers):
        _draw_peer(axes, result, workload, peer, place)
    axes.set_yticks(range(len(result.peers)), [peer.name for peer in result.peers])
    axes.minorticks_off()
    axes.tick_params(length=0, labelcolor=INK)
    axes.tick_params(axis="x", labelcolor=FAINT, labelsize=8.5)
    axes.grid(axis="x", color=GRID, zorder=0)
    axes.spines[:].set_visible(False)


def _draw_peer(axes: Any, result: Result, workload: str, peer: Peer, place: int) -> None:
    beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "size": 8.5}
    seconds, ratio = result.seconds(workload, peer.name), result.ratio(workload, peer.name)
    if seconds is None:
        left = axes.get_yaxis_transform()
        axes.annotate(peer.lacks[workload], (0, place), (4, 0), left, color=FAINT, **beside)
        return
    ours = peer == MICROGRADX
    axes.barh(place, seconds, height=0.72, color=ORANGE if ours else BLUE, zorder=2)
    beside |= {"weight": "bold" if ours else "normal"}
    beside["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    time = axes.annotate(seconds_with_unit(seconds), (seconds, place), (5, 0), color=INK, **beside)
    if ratio is not None:
        axes.annotate(f"{short(ratio)} ×", (1, 0.5), (7, 0), time, color=FAINT, **beside)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
