"""Execute a notebook in the folder where it stands: its path is the argument."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

path = Path(sys.argv[1])
notebook = nbformat.read(path, as_version=4)
folder = {"metadata": {"path": str(path.parent)}}
NotebookClient(notebook, timeout=900, kernel_name="python3", resources=folder).execute()
nbformat.write(notebook, path)
