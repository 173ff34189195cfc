"""The course's models with two of their layers and its shorter texts, for runs whose scores nobody reads.

The same code in a third of the time.
"""

import json
import re
import shutil
from pathlib import Path

from leaplm.assets.places import store
from safetensors.torch import load_file, save_file

LAYERS = 2
LONGEST, MOST = 80, 1000  # bytes of a row of texts with labels, rows of a file about; at scale tiny labs take some hundred
NUMBER = re.compile(r"\blayers?\.(\d+)\.")


def make_shallow_store(folder):
    """A store of assets (for LEAPLM_HOME) like the machine's own, with models of LAYERS layers and fewer, shorter texts."""
    make_short_store(folder)
    for model in [path for path in folder.iterdir() if (path / "config.json").is_file()]:
        model.unlink()
        make_shallow(store() / model.name, model)
    return folder


def make_short_store(folder):
    """The same with the models as they are."""
    for asset in (path for path in store().iterdir() if (path / ".leaplm").is_file()):
        if asset.name in ("afrisenti", "vader"):
            shutil.copytree(asset, folder / asset.name, copy_function=copy_short)
        else:
            (folder / asset.name).symlink_to(asset)
    return folder


def copy_short(source, target):
    """Copy a file, of a table only the short rows; their first line is always short."""
    if Path(source).suffix not in (".tsv", ".txt"):
        return shutil.copyfile(source, target)
    with open(source, "rb") as file:
        rows = [row for row in file if len(row) < LONGEST]
    step = len(rows) // MOST + 1  # from all of the file: some are ordered by class
    Path(target).write_bytes(b"".join([rows[0], *rows[1::step]]))


def make_shallow(model: Path, folder: Path):
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).symlink_to(path)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": LAYERS}), encoding="utf-8")
    lower = {name: tensor for name, tensor in load_file(model / "model.safetensors").items()
             if not (found := NUMBER.search(name)) or int(found[1]) < LAYERS}  # fmt: skip
    (folder / "model.safetensors").unlink()
    save_file(lower, folder / "model.safetensors", {"format": "pt"})
