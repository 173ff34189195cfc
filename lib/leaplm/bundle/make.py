"""Fill a bundle's folder. Run again, it brings only what is missing or changed, and goes on after an interruption."""

import itertools
import os
import shutil
from html import escape
from importlib.resources import files as package_files
from pathlib import Path

from leaplm.assets import AssetError
from leaplm.assets.download import download, sha256_of
from leaplm.assets.manifest import load_manifest
from leaplm.assets.places import store
from leaplm.assets.web import SourceError, Web, mirror_url
from leaplm.bundle.contents import BundleError, write_contents
from leaplm.bundle.wheels import HERE, get_wheels
from leaplm.learner.releases import without_marks

LEFT_BY_RUNS = (".ipynb_checkpoints", "runs", "artifacts", "leaplm-progress*", "PROGRESS.md", "certificate.html", "*.zip")
LICENCES = ("LICENSE", "LICENSE-TEXT", "NOTICE")


def make_bundle(root, out, platforms=(HERE,), everything=False, say=print, marks=True):
    """Make or renew the bundle in the folder `out`; returns its files as {name: {bytes, sha256}}.

    root: the course. platforms: see `wheels.PLATFORMS`. everything: also assets that are not core.
    marks: whether notebooks show learners their marks; without, the bundle holds no check.
    Raises BundleError or AssetError; what came until then stays and is not downloaded again.
    """
    out = Path(out).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    get_wheels(root, out / "wheels", platforms, say, marks)
    get_assets(out / "assets", everything, say)
    copy_course(root, out, marks)
    files = write_contents(out, platforms=list(platforms))
    write_start(out, files)
    return write_contents(out, platforms=list(platforms))


def get_assets(folder, everything, say):
    """A mirror of the assets, laid out as `LEAPLM_MIRROR` wants it. AssetError for one that the labs require."""
    web = Web()
    for asset in load_manifest().values():
        if not (asset.core or everything):
            continue
        say(f"{asset.name}: {asset.download_bytes() / 1e6:.0f} MB")
        try:
            get_asset(web, asset, folder)
        except SourceError as problem:
            sorry = f"{asset.name} did not come: {problem}. Run the command again on a better line"
            if asset.required:
                raise AssetError(sorry) from None
            say(f"{sorry}; the bundle is made without it")
    shutil.rmtree(folder / ".parts", ignore_errors=True)


def get_asset(web, asset, folder):
    """One asset from the first of its sources that gives it. SourceError with all reasons if none does."""
    reasons = []
    for source in asset.sources:
        try:
            for file in asset.downloads(source):
                get_file(web, source, file, folder, store() / asset.name / file.name)
            return
        except SourceError as problem:
            reasons.append(str(problem))
    raise SourceError("; ".join(reasons))


def get_file(web, source, file, folder, kept):
    """One file of the mirror: from this machine's store (`kept`), from another mirror, or from its origin."""
    target, part = folder / source.mirror_path(file), folder / ".parts" / file.sha256
    if is_file(target, file):
        return
    part.parent.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    mirror, reasons = os.environ.get("LEAPLM_MIRROR"), []
    near = ([str(kept)] if is_file(kept, file) else []) + ([mirror_url(mirror, source.mirror_path(file))] if mirror else [])
    try:
        for url in itertools.chain(near, web.urls(source, file)):
            try:
                download(web, url, file, part, lambda count: None)
                os.replace(part, target)
                return
            except SourceError as problem:
                reasons.append(str(problem))
    except SourceError as problem:  # no more places to look
        reasons.append(str(problem))
    raise SourceError("; ".join(reasons))


def is_file(path, file):
    return path.is_file() and path.stat().st_size == file.bytes and sha256_of(path) == file.sha256


def copy_course(root, out, marks=True):
    """The labs as students open them (no solutions), the licences, the book where it was built, and the installer."""
    if not (root / "labs").is_dir():
        raise BundleError(f"{root} is not the course: it has no folder labs. Run the command inside the course's folder")
    replace_folder(root / "labs", out / "course" / "labs")
    for notebook in [] if marks else (out / "course" / "labs").rglob("*.ipynb"):
        notebook.write_text(without_marks(notebook.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
    for name in LICENCES:
        shutil.copy2(root / name, out / "course" / name)
    book = root / "build" / "docs" / "html"
    if book.is_dir():
        replace_folder(book, out / "book")
    (out / "install.py").write_text(installer(), encoding="utf-8")


def installer():
    """The text of a bundle's install.py: one file, because students download it alone and have no leaplm yet.

    In the place of `from leaplm import installing` stands that module's own text.
    """
    text, module = ((package_files("leaplm") / name).read_text(encoding="utf-8")
                    for name in ("bundle/installer.py", "installing.py"))
    return text.replace("from leaplm import installing\n", f"{module}\n\ninstalling = sys.modules[__name__]\n")


def replace_folder(source, target):
    """A copy of the files of `source`, without what students' runs leave beside the notebooks."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*LEFT_BY_RUNS))


def write_start(out, files):
    """START.html: what is here, how big it is, and what to type."""
    sizes = {part: sum(facts["bytes"] for name, facts in files.items() if name.startswith(f"{part}/")) / 1e6
             for part in ("wheels", "assets", "course", "book")}
    labs = sorted(path.name for path in (out / "course" / "labs").glob("lab*"))
    rows = "\n".join(f"<tr><td>{escape(part)}</td><td>{size:.0f} MB</td></tr>" for part, size in sizes.items() if size)
    book = '<p><a href="book/index.html">Read the book</a> (works without internet).</p>' if sizes["book"] else ""
    page = (package_files("leaplm.bundle") / "start.html").read_text(encoding="utf-8")
    page = page.replace("{rows}", rows).replace("{book}", book).replace("{labs}", "".join(f"<li>{lab}</li>" for lab in labs))
    (out / "START.html").write_text(page, encoding="utf-8")
