"""A notebook file that a student handed in, checked strictly and cut down to what grading uses.

Only texts matter: outputs, widget state and editors' metadata are dropped, so megabytes become kilobytes and two saves
of the same work are the same bytes. Of a cell are kept its type, source, id, tags, nbgrader's metadata and pictures in
markdown. The result is plain nbformat 4.5, whatever came in.
"""

from __future__ import annotations

import json
import re
from typing import Any

import nbformat

from leaplm.grading.intake.uploads import Refused
from leaplm.grading.texts import unix_lines, writable

MAX_NOTEBOOK_BYTES = 20 * 2**20
MAX_VALUES = 2_000_000  # in the file's JSON: bounds the memory that parsing takes
MAX_NESTING = 100
MAX_CELLS = 2_000
MAX_SOURCE_BYTES = 2 * 2**20  # of all cells together, as JSON: of a control character it makes six
MAX_PICTURES_BYTES = 8 * 2**20
MAX_TAGS = 20
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
CELL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
TOO_LARGE = (
    f"The notebook is larger than {MAX_NOTEBOOK_BYTES >> 20} MB: clear all its outputs, save it, and hand it in again."
)
KERNEL_NAME = re.compile(r"[\w.-]{1,60}")
AGAIN = "Open the notebook, save it, download it and hand it in again."


def clean_notebook(data: bytes, with_kernel: bool = False) -> tuple[bytes, list[str]]:
    """The notebook as small nbformat 4.5, and notes on what was left out of it. Refused if it is no usable notebook.

    `with_kernel` keeps the name of its kernel, which counts where our own notebook names none.

    >>> clean_notebook(b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}')[1]
    []
    """
    notebook = parse(data)
    notes: list[str] = []
    if notebook.get("nbformat") != 4:
        notes.append(f"The notebook was in the old format {notebook.get('nbformat')} and was converted to format 4.")
        notebook = convert(notebook)
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        raise Refused(f"The file has no cells: it is no notebook, or a damaged one. {AGAIN}")
    if len(cells) > MAX_CELLS:
        raise Refused(f"The notebook has {len(cells):,} cells, more than {MAX_CELLS:,}: delete those that are not needed.")
    kept = [clean_cell(cell, number, notes) for number, cell in enumerate(cells, 1) if isinstance(cell, dict)]
    if len(kept) < len(cells):
        notes.append(f"{len(cells) - len(kept)} cells of the notebook are damaged and were left out.")
    if sum(len(json.dumps(cell["source"], ensure_ascii=False).encode()) for cell in kept) > MAX_SOURCE_BYTES:
        raise Refused(f"The text of the cells is larger than {MAX_SOURCE_BYTES >> 20} MB: keep data in a file beside it.")
    drop_pictures(kept, notes)
    name_copies(kept)
    metadata = kernel_of(notebook) if with_kernel else {}
    clean = {"cells": kept, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(clean, ensure_ascii=False, indent=1, sort_keys=True).encode(), notes


def kernel_of(notebook: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a notebook that name its kernel, if they do, and whether it is a Python."""
    metadata = notebook.get("metadata")
    spec, told = (_part(metadata, part) for part in ("kernelspec", "language_info"))
    name = spec.get("name")
    if not isinstance(name, str) or not KERNEL_NAME.fullmatch(name):
        return {}
    python = "python" in (spec.get("language"), told.get("name"))
    return {"kernelspec": {"name": name, "display_name": name} | ({"language": "python"} if python else {})}


def _part(metadata: Any, name: str) -> dict[str, Any]:
    part = metadata.get(name) if isinstance(metadata, dict) else None
    return part if isinstance(part, dict) else {}


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object in a file, with limits checked before anything is built from it."""
    data = data.removeprefix(BYTE_ORDER_MARK)
    if len(data) > MAX_NOTEBOOK_BYTES:
        raise Refused(TOO_LARGE)
    if not data.strip():
        raise Refused(f"The notebook file is empty. {AGAIN}")
    if data.lstrip()[:1] == b"<":
        raise Refused("The file is a web page or a merge conflict, not a notebook: download the notebook itself.")
    text = as_text(data)
    check_shape(data)
    try:
        notebook = json.loads(text, parse_constant=lambda name: None)
    except json.JSONDecodeError as error:
        line = f"{error.lineno:,}"
        raise Refused(f"The notebook file is cut off or damaged (line {line}): it is not valid JSON. {AGAIN}") from None
    except (ValueError, RecursionError):
        raise Refused(f"The notebook file is cut off or damaged: it is not valid JSON. {AGAIN}") from None
    if not isinstance(notebook, dict):
        raise Refused(f"The file is JSON but no notebook. {AGAIN}")
    check_version(notebook)
    return notebook


def as_text(data: bytes) -> str:
    """What a file says, if it is UTF-8. In another encoding its structure looks like another one's; UTF-16 has NULs."""
    try:
        if (place := data.find(b"\0")) >= 0:
            raise UnicodeDecodeError("utf-8", data, place, place + 1, "a NUL")
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"The notebook is not saved as UTF-8 text (at byte {error.start:,}). {AGAIN}") from None


def check_shape(data: bytes) -> None:
    """Refuses JSON with very many values or very deep nesting, before it is parsed.

    Without escapes and strings only the structure is left; both are removed at C speed. What is no JSON at all passes,
    and fails when it is parsed.
    """
    structure = re.sub(rb'"[^"]*"', b"", re.sub(rb"\\.", b"", data, flags=re.DOTALL))
    if sum(structure.count(char) for char in (b",", b"[", b"{")) > MAX_VALUES:
        raise Refused("The notebook holds far too much data: clear all its outputs, save it, and hand it in again.")
    depth = 0
    for mark in re.findall(rb"[\[\]{}]", structure):
        depth += 1 if mark in b"[{" else -1
        if depth > MAX_NESTING:
            raise Refused(f"The notebook file is damaged: its parts are nested deeper than {MAX_NESTING} levels. {AGAIN}")


def check_version(notebook: dict[str, Any]) -> None:
    version = notebook.get("nbformat")
    if type(version) is not int or version < 1:
        raise Refused(f"The file does not say which notebook format it has: it is no notebook. {AGAIN}")
    if version > 4:
        raise Refused(f"The notebook has format {version}, which is newer than 4: save it with JupyterLab and hand that in.")


def convert(notebook: dict[str, Any]) -> dict[str, Any]:
    """A notebook of format 1 to 3 in format 4."""
    try:
        return nbformat.convert(nbformat.from_dict(notebook), 4)
    except Exception:  # any: the content is the student's, and the converters trust it
        version = notebook["nbformat"]
        said = f"The notebook has the old format {version} and could not be converted: save it with JupyterLab."
        raise Refused(said) from None


def clean_cell(cell: dict[str, Any], number: int, notes: list[str]) -> dict[str, Any]:
    """What grading uses of a cell, in nbformat 4.5."""
    metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
    kind = cell.get("cell_type") if cell.get("cell_type") in ("code", "raw") else "markdown"
    ids = (cell.get("id"), metadata.get("id"), f"unnamed-{number}")  # Colab keeps its own in the metadata
    clean = {
        "cell_type": kind,
        "id": next(name for name in ids if isinstance(name, str) and CELL_ID.fullmatch(name)),
        "metadata": clean_metadata(metadata),
        "source": clean_source(cell.get("source"), number, notes),
    }
    if kind == "code":
        clean.update(outputs=[], execution_count=None)
    elif kind == "markdown" and (pictures := clean_pictures(cell.get("attachments"))):
        clean["attachments"] = pictures
    return clean


def clean_source(source: Any, number: int, notes: list[str]) -> str:
    """The text of a cell, with the line ends of Unix. Refused if it has a NUL, which no program text may have."""
    if not _is_text(source):
        notes.append(f"Cell {number} has no text and counts as empty.")
        return ""
    source = unix_lines("".join(source))
    if "\0" in source:
        raise Refused(f"Cell {number} of the notebook has a NUL character in its text: delete the cell and write it again.")
    clean = writable(source)
    if clean != source:  # half a surrogate pair, written as an escape
        notes.append(f"Cell {number} has characters that are no text; they were replaced by ?.")
    return clean


def clean_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """The tags and nbgrader's marks of a cell, as far as they are plain."""
    clean: dict[str, Any] = {}
    marks, tags = metadata.get("nbgrader"), metadata.get("tags")
    if isinstance(marks, dict):
        clean["nbgrader"] = {key: value for key, value in marks.items() if len(key) < 40 and _is_plain(value)}
    words = [tag for tag in tags if isinstance(tag, str) and _is_plain(tag)] if isinstance(tags, list) else []
    if words := [tag for tag in dict.fromkeys(words) if tag and "," not in tag]:  # as the format asks
        clean["tags"] = words[:MAX_TAGS]
    return clean


def clean_pictures(attachments: Any) -> dict[str, dict[str, str]]:
    """The pictures pasted into a markdown cell, of the kinds that browsers show and that hold no program."""
    clean = {}
    for name, kinds in attachments.items() if isinstance(attachments, dict) else ():
        data = {kind: "".join(kinds[kind]) for kind in PICTURES if isinstance(kinds, dict) and _is_text(kinds.get(kind))}
        if data and _is_plain(name) and all(BASE64.fullmatch(text) for text in data.values()):
            clean[name] = data
    return clean


def drop_pictures(cells: list[dict[str, Any]], notes: list[str]) -> None:
    """Takes out all pictures when they are too large together."""
    size = sum(len(json.dumps(cell.get("attachments", ""))) for cell in cells)
    if size > MAX_PICTURES_BYTES:
        notes.append(f"The pictures in the text cells are larger than {MAX_PICTURES_BYTES >> 20} MB and were left out.")
        for cell in cells:
            cell.pop("attachments", None)


def name_copies(cells: list[dict[str, Any]]) -> None:
    """Makes the ids unique as the format asks; nbformat would give copied cells random ids at each reading."""
    used = set()
    for number, cell in enumerate(cells, 1):
        if cell["id"] in used:
            cell["id"] = f"{cell['id'][:50]}-copy-{number}"
        used.add(cell["id"])


def _is_text(value: Any) -> bool:
    """Whether a value is a text as notebooks hold it: a string, or a list of its lines."""
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))


def _is_plain(value: Any) -> bool:
    """Whether a value of a cell's metadata is short and can be written again: no broken text, no endless number."""
    if isinstance(value, str):
        return len(value) <= 200 and value == writable(value)
    return value is None or isinstance(value, bool) or (isinstance(value, (int, float)) and abs(value) < 1e9)
