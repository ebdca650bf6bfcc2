"""The tutorials run from the first cell to the last, and what they claim is so."""

from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "docs" / "tutorials").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient: Any = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    nbformat: Any = pytest.importorskip("nbformat", reason="nbformat is not installed")

    for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))  # the kernel leaves files behind
    notebook: Any = nbformat.read(path, as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code"), (
        "notebooks are kept without outputs, which the documentation computes"
    )
    nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
        extra_arguments=["--IPKernelApp.log_level=40"],
    ).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    complaints = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not complaints
    pictures = {kind for output in outputs for kind in output.get("data", ())} & {
        "image/png",
        "image/svg+xml",
    }
    assert pictures


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) == 6
