"""Builds the book: chapters, and the labs with the results of a run, as a web site (html) or an EPUB.

    python course/tools/book/build.py                     build/docs/html, from runs at this machine's scale
    python course/tools/book/build.py --format epub       build/docs/epub/leaplm.epub
    python course/tools/book/build.py --labs lab2_finetuning --scale tiny
    python course/tools/book/build.py --locale fr         build/docs/fr/html: the same in French

A lab's results come from running its solution once; they are kept in build/docs/runs until the lab changes, so an
interrupted build goes on with the next lab. What the pages show is the release: answers stay empty.
"""

import argparse
import base64
import copy
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from leaplm import captions, drawings
from leaplm.grading.course import LANGUAGES, lab_file, list_labs
from leaplm.locales import direction
from leaplm.translation import (
    COMMON,
    LOCALE,
    current_locale,
    list_locales,
    load_catalogs,
    look_up,
    translate_markdown,
    unwrapped,
)
from nbclient import NotebookClient
from PIL import Image
from tqdm.auto import tqdm

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent):
    sys.path.insert(0, str(folder))
import light  # noqa: E402
import terms  # noqa: E402
import translate  # noqa: E402  course/tools/translate.py

ROOT = HERE.parents[2]
OUT = ROOT / "build" / "docs"
OUTPUTS = 2  # grows when the library puts more into a lab's outputs: pictures that say in words what they show
COLOURS = 32  # of a figure: enough for lines and bars, and a quarter of the bytes
LONGEST_OUTPUT = 4000  # characters of printed text


def run_of(lab, scale):
    """The solution of a lab with its outputs; from build/docs/runs if the lab was run before as it is now."""
    source = ROOT / "solutions" / lab / f"{lab}.ipynb"
    digest = hashlib.sha256(source.read_bytes() + f"{scale or ''}{OUTPUTS}".encode()).hexdigest()[:16]
    kept = OUT / "runs" / f"{lab}-{digest}.ipynb"
    if not kept.is_file():
        notebook = nbformat.read(source, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": folder}})
            environment = {**os.environ, "LEAPLM_COURSE": str(ROOT), **({"LEAPLM_SCALE": scale} if scale else {})}
            client.execute(env=environment)
        kept.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, kept)
    return nbformat.read(kept, as_version=4)


def release_path(lab):
    """The notebook of a lab that students open, in the language of LEAPLM_LOCALE."""
    folder = ROOT / "labs" / LANGUAGES / in_use() if in_use() else ROOT / "labs"
    return folder / lab / f"{lab}.ipynb"


def page_of(lab, run):
    """The release of a lab with the outputs of the run; figures with few colours, no progress bars, no widgets."""
    page = nbformat.read(release_path(lab), as_version=4)
    outputs = {cell.id: cell.get("outputs", []) for cell in run.cells}
    for cell in page.cells:
        cell.source = unwrapped(cell.source)  # the page itself is written from the right
        if cell.cell_type == "code":
            said = [words for output in outputs.get(cell.id, []) if (words := picture_in_words(output))]
            cell.metadata["mystnb"] = {"image": {"alt": " · ".join(said)}} if said else {}
            cell.outputs = [small for output in outputs.get(cell.id, []) for small in shown(output)]
            cell.execution_count = None
    page.metadata.pop("widgets", None)
    return page


def shown(output):
    """An output as the page shows it, as a list of none or one."""
    output = copy.deepcopy(output)
    if output.output_type == "stream":
        if output.name == "stderr":
            return []
        output.text = output.text[:LONGEST_OUTPUT].replace(str(Path.home()), "~")
    if output.output_type in ("display_data", "execute_result"):
        if "application/vnd.jupyter.widget-view+json" in output.data:
            return []
        if "image/png" in output.data:
            output.data = {"image/png": fewer_colours(output.data["image/png"])}
    return [output]


def picture_in_words(output):
    """What a figure or drawing of ours says of itself; "" for any other output."""
    data = output.get("data", {})
    if "image/svg+xml" in data:
        return drawings.described(data["image/svg+xml"])
    png = data.get("image/png")
    return Image.open(io.BytesIO(base64.b64decode(png))).info.get(captions.KEY, "") if png else ""


def fewer_colours(png):
    """A PNG (base64) with at most COLOURS colours."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small = io.BytesIO()
    image.save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def lay_out(pages, labs, scale):
    """The folder that Sphinx reads: index, chapters and labs in turn."""
    shutil.rmtree(pages, ignore_errors=True)
    (pages / "_static").mkdir(parents=True)
    for name in ("conf.py", "formulas.py", "pairs.py"):
        shutil.copy(HERE / name, pages)
    for name in ("book.css", "keyboard.js"):
        shutil.copy(HERE / name, pages / "_static")
    (pages / "figures").mkdir()
    names = []
    for lab in tqdm(labs, desc="labs", unit="lab"):
        chapter, figure = lab_file(ROOT, lab, "chapter.md"), lab_file(ROOT, lab, "figure.svg")
        if figure.is_file():
            drawn = drawings.translate(figure.read_text(encoding="utf-8"), catalogs_in_use(lab))
            (pages / "figures" / f"{lab}.svg").write_text(drawn, encoding="utf-8")
        if chapter.is_file():
            names.append(f"chapters/{lab}")
            (pages / "chapters").mkdir(exist_ok=True)
            (pages / "chapters" / f"{lab}.md").write_text(in_the_locale(chapter, lab), encoding="utf-8")
        names.append(f"labs/{lab}")
        (pages / "labs").mkdir(exist_ok=True)
        nbformat.write(page_of(lab, run_of(lab, scale)), pages / "labs" / f"{lab}.ipynb")
    index = in_the_locale(HERE / "index.md", COMMON).replace("{toc}", "\n".join(names))
    index = index.replace("{caption}", look_up(translate.CAPTION, catalogs_in_use(COMMON)) or translate.CAPTION)
    (pages / "index.md").write_text(index, encoding="utf-8")


def in_the_locale(path, lab):
    """A page of the course in the language of LEAPLM_LOCALE."""
    text = path.read_text(encoding="utf-8")
    catalogs = catalogs_in_use(lab)
    return translate_markdown(text, catalogs) + translate.notice(catalogs) if catalogs else text


def in_use():
    """The language of LEAPLM_LOCALE."""
    return current_locale(list_locales(ROOT))


def catalogs_in_use(lab):
    return load_catalogs(ROOT, lab, in_use()) if in_use() else ()


def turn(target):
    """Give each page its side, and a heading of Sphinx's its rank."""
    start = rf'<html\1 dir="{direction(in_use())}">'
    for path in target.rglob("*.html"):
        page = re.sub("<html([^>]*)>", start, path.read_text(encoding="utf-8"), count=1)
        path.write_text(page.replace('role="heading"', 'role="heading" aria-level="2"'), encoding="utf-8")
    for path in target.rglob("mystnb.*.css"):  # 43 KB, most of it colours of terminals; book.css has what is needed
        path.write_text("")


def main(argv=None):
    parser = argparse.ArgumentParser(description="Build the book.")
    parser.add_argument("--format", choices=("html", "epub"), default="html")
    parser.add_argument("--labs", nargs="*", help="only these labs (default: all)")
    parser.add_argument("--scale", choices=("tiny", "cpu", "gpu"), help="of the runs (default: this machine's)")
    parser.add_argument("--locale", default=in_use(), help="language of the text (default: LEAPLM_LOCALE)")
    parser.add_argument("--out", type=Path, default=OUT, help="where the book goes")
    options = parser.parse_args(argv)
    os.environ[LOCALE] = options.locale
    os.environ[LOCALE] = in_use()  # as Sphinx's settings take it: fr_CA is fr
    options.out /= in_use()
    pages = options.out / "pages"
    lay_out(pages, options.labs or list_labs(ROOT), options.scale)
    target = options.out / options.format
    for old in (target, options.out / "doctrees"):  # Sphinx stops at files of its own that `lighten` changed
        shutil.rmtree(old, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", options.format,
               "-d", str(options.out / "doctrees"), str(pages), str(target)]
    if subprocess.call(command):
        sys.exit("the book has faults: see the warnings above")
    if options.format == "html":
        turn(target)
        terms.slim(target)
        light.lighten(target)
        if heavy := light.too_heavy(target):
            sys.exit("the book is too heavy for a bad line, with all that a page loads: " + "; ".join(heavy))
    print(f"the book: {target / ('index.html' if options.format == 'html' else 'leaplm.epub')}")


if __name__ == "__main__":
    main()
