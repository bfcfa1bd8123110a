"""A page of the documentation as a notebook: its blocks are the cells, what is written between them stays between."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

FENCE = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
SECONDS = 900  # that a cell may take


def notebook_of(page: str) -> NotebookNode:
    """A page's text as a notebook: Python as it stands, commands behind an exclamation mark, all else as text.

    >>> [cell.source for cell in notebook_of("# A line\\n```console\\n$ flambeau runs\\n```\\nThere it is.\\n").cells]
    ['# A line', '!flambeau runs', 'There it is.']
    """
    cells, end = [], 0
    for block in FENCE.finditer(page):
        cells.append(new_markdown_cell(page[end : block.start()].strip()))
        lines = block[2].rstrip().splitlines()
        cells.append(new_code_cell("\n".join(re.sub(r"^\$ ", "!", line) for line in lines)))
        end = block.end()
    cells.append(new_markdown_cell(page[end:].strip()))
    cells = [cell for cell in cells if cell.source]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # those of nbformat are drawn, and a file would differ each time
    return new_notebook(cells=cells, metadata=KERNEL)


def executed(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """The notebook with what its cells give, run in a folder. Raises CellExecutionError for one that fails."""
    resources = {"metadata": {"path": str(folder)}}
    return NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources).execute()


def execute_all(tree: Path) -> None:
    """Executes the notebooks in a tree, each in a folder of its own that holds `photos/`, real digits by class."""
    from flambeau.cli.demo_data import write_digits

    for file in sorted(tree.rglob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            write_digits(Path(folder) / "photos")
            nbformat.write(executed(nbformat.read(file, as_version=4), Path(folder)), file)
