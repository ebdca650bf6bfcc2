"""Plots that show themselves in notebooks; to import this needs matplotlib."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure


class Picture(Figure):
    """A figure that a notebook shows, though pyplot does not know of it."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the picture, and its size on the page: sharp on screens of twice the density."""
        file = BytesIO()
        self.savefig(file, format="png")
        width, height = self.canvas.get_width_height()
        return file.getvalue(), {"width": width // 2, "height": height // 2}
