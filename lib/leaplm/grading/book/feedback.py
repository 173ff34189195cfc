"""What a page of nbgrader may show of a student's work: feedback for the student, Formgrader for the teacher.

Both pages hold what the student wrote and what the student's program put out, and a browser runs what it is given. In
Formgrader that would run with the teacher's rights. So every text is a text, HTML is cut down to tables and the like,
pictures are PNG or JPEG, and nothing else comes through. In nbgrader_config.py:

    c.HTMLExporter.preprocessors = ["leaplm.grading.book.feedback.SafeContent"]                  # both pages
    c.HTMLExporter.filters = {"markdown2html": "leaplm.grading.book.feedback.safe_markdown"}
    c.GenerateFeedback.exporter_class = "leaplm.grading.book.feedback.FeedbackExporter"          # feedback alone
    c.GenerateFeedback.preprocessors = [
        "leaplm.grading.book.feedback.HideTests",
        "nbgrader.preprocessors.GetGrades",
        "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
    ]

nbconvert's own SanitizeHTML cleans markdown before it is rendered, so a link `[x](javascript:...)` comes through it.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, pass_context
from jinja2.ext import Extension
from jinja2.runtime import Context
from nbconvert.exporters import HTMLExporter, TemplateExporter
from nbconvert.filters import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests, NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution
from traitlets.config import Config

from leaplm.grading.book.safe_html import clean_html
from leaplm.grading.texts import picture_words
from leaplm.locales import direction, language_tag, say, speaking

MAX_SOURCE = 50_000  # characters of a cell
MAX_MARKDOWN = 20_000  # rendered at once; some texts take a time that grows with the square of their length
MAX_LINE = 2_000  # of a source; to colour it takes a time that grows with the square of its length
MAX_SOURCES = 150_000  # characters of all cells
MAX_TEXT = 20_000  # of one output
MAX_HTML = 200_000
MAX_PICTURE = 2_000_000  # of base64
MAX_OUTPUTS = 40  # of a cell
MAX_PAGE = 3_000_000  # of all outputs, as they stand in the page
OF_ONE_OUTPUT = 400  # what the page puts around it
LEFT_OUT = "… the rest is left out …"

PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)?|[ -/]*[0-~])")  # of terminals
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # also those that reverse a text

# A second wall: whatever comes through, the browser runs nothing of it. MathJax, which nbgrader's page loads, needs eval.
MATHJAX = "https://cdnjs.cloudflare.com/ajax/libs/mathjax/"
POLICY = (
    f"default-src 'none'; script-src {MATHJAX} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:; "
    f"font-src {MATHJAX}; base-uri 'none'; form-action 'none'"
)

# Messages and code go on in the next line, and not out of the page: without a script nothing could put a box that scrolls
# into the reach of the keyboard. Each line of what was printed has the direction of its own words; code is written from the
# left in every language. A heading is as high as its words, and on a narrow page the score stands below the name: nbgrader
# fixes its height, and what stands out of it squeezes the code. Colours have the contrast of WCAG's level AA, and what is
# pressed is 24 px high.
STYLE = """
div.output_area pre, div.input_area pre { white-space: pre-wrap; overflow-wrap: anywhere; word-break: normal }
div.output_area pre { unicode-bidi: plaintext; text-align: start }
div.input_area, div.input_area pre, code, div.highlight, mjx-container { direction: ltr; text-align: left }
code, mjx-container { unicode-bidi: isolate }
div.highlight, div.highlight pre { background: #fff !important }
body a { color: #1f5c99; text-decoration: underline }
body div.nbgrader_cell .panel-heading a { color: #fff }
div.prompt { direction: ltr; text-align: start }
body div.nbgrader_cell .panel-heading { display: flow-root; height: auto; overflow-wrap: anywhere }
[dir="rtl"] .panel-heading .pull-right { float: left !important }
@media (max-width: 600px) { body .panel-heading .pull-right { display: block; float: none !important } }
div.text_cell_render th, div.text_cell_render td { padding: 4px 8px; text-align: start; vertical-align: top }
[dir="rtl"] blockquote { border-left: 0; border-right: 5px solid #eee }
bdi { white-space: nowrap }
body summary { display: list-item; line-height: 24px }
#toc li { line-height: 24px }
"""
# The words of nbgrader's page itself.
FRAME = ("Student's answer", "Student's task", "Grade cell:", "Test cell", "Coding free-response", "Written response",
         "Task", "Task:", "Comment", "Comments:", "Late submission penalty", "Score:", "(Top)")  # fmt: skip
FRAME_FOLDER = "feedback"  # of nbgrader's templates
WORDLESS = re.compile(r'<img(?![^>]*? alt=")')
NO_WORDS = "No description has been provided for this image"  # as nbconvert says
LOCALE_NAME = re.compile(r"[a-z]{2,3}(_[A-Za-z0-9]{2,4})*")


class SafeContent(Preprocessor):
    """Makes sources, attachments and outputs of a notebook safe to show, and small."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        nb.metadata = nbformat.from_dict({"language_info": {"name": "python"}})
        self._left, self._sources_left = MAX_PAGE, MAX_SOURCES
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in ("nbgrader",) if key in cell.metadata})
        source = cut(cell.source, min(MAX_SOURCE, self._sources_left))
        cell.source = CONTROLS.sub("", "\n".join(cut(line, MAX_LINE) for line in source.split("\n")))
        self._sources_left = max(0, self._sources_left - len(cell.source))
        if "attachments" in cell:
            cell.attachments = safe_attachments(cell.attachments)
        if cell.cell_type == "raw":
            cell.source = html.escape(cell.source)
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [nbformat.from_dict(output) for output in self._fitting(safe_outputs(cell.outputs))]
        return cell, resources

    def _fitting(self, outputs: list[dict]) -> list[dict]:
        """The outputs up to the limit of the page."""
        kept = []
        for output in outputs:
            self._left -= len(html.escape(str(output))) + OF_ONE_OUTPUT
            kept.append(output if self._left > 0 else {"output_type": "stream", "name": "stdout", "text": say(LEFT_OUT)})
            if self._left <= 0:
                break
        return kept


class HideTests(NbGraderPreprocessor):
    """Takes the hidden tests out of check cells, and the lines of them that an error shows.

    nbgrader's ClearHiddenTests, whose marks a course may have chosen itself, stops at a student's cell that has them, and
    at a mark without an end.
    """

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        marks = ClearHiddenTests(config=Config(ClearHiddenTests=self.config.ClearHiddenTests))  # it warns of other options
        self._marks = marks.begin_test_delimeter, marks.end_test_delimeter
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        if not is_grade(cell) or is_solution(cell) or cell.cell_type != "code":
            return cell, resources
        cell.source = without_hidden(cell.source, *self._marks)
        for output in cell.outputs:
            if output.output_type == "error":
                output.traceback = [f"{output.ename}: {output.evalue}"]
        return cell, resources


def without_hidden(source: str, begin: str, end: str) -> str:
    """A check cell without its hidden tests; without an end mark, all that follows is hidden."""
    kept, hidden = [], False
    for line in source.split("\n"):
        hidden = hidden or begin in line
        if not hidden:
            kept.append(line)
        hidden = hidden and end not in line
    return "\n".join(kept)


class FeedbackExporter(HTMLExporter):
    """nbgrader's feedback page, with its language, a policy in it that forbids scripts, and lines that fit a phone."""

    def _create_environment(self) -> Environment:
        environment = super()._create_environment()
        environment.add_extension(FrameWords)
        return environment

    def from_notebook_node(self, nb: NotebookNode, resources: dict | None = None, **more: Any) -> tuple[str, dict]:
        language = language_of(nb)
        locale = language.replace("-", "_")
        with speaking(locale):
            words = {FrameWords.KEY: {words: spaced(say(words)) for words in FRAME}}
            page, resources = self._page(nb, {**(resources or {}), **words}, **more)
        head = f'<head>\n<meta http-equiv="Content-Security-Policy" content="{POLICY}"/>\n<style>{STYLE}</style>'
        start = f'<html lang="{language}" dir="{direction(locale)}">'
        return re.sub(r"<html[^>]*>", start, page, count=1).replace("<head>", head, 1), resources

    def _page(self, nb: NotebookNode, resources: dict, **more: Any) -> tuple[str, dict]:
        """The page as its template writes it.

        HTMLExporter would parse it once more, half of the time, to find pictures that have no text in their place.
        """
        told = nb.metadata.get("language_info", {})
        lexer = told.get("pygments_lexer", told.get("name"))
        self.register_filter("highlight_code", Highlight2HTML(pygments_lexer=lexer, parent=self))
        page, resources = TemplateExporter.from_notebook_node(self, nb, self._init_resources(resources), **more)
        return WORDLESS.sub(f'<img alt="{NO_WORDS}"', page), resources


def spaced(words: str) -> str:
    """Words as something may follow them: with a blank behind a colon, but for one that is as wide as a Chinese letter.

    >>> spaced("Score:"), spaced("得分："), spaced("Test cell")
    ('Score: ', '得分：', 'Test cell')
    """
    return f"{words} " if words.endswith(":") else words


class FrameWords(Extension):
    """Puts `resources.frame_words["Comments:"]` in the place of nbgrader's own words, where its template is read.

    In the contents the name of the cell follows them, as in the cell's heading: all of them said "Test cell" otherwise.
    """

    KEY = "frame_words"
    NAME = "{{ cell.metadata.nbgrader.grade_id }}"

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        if not filename or FRAME_FOLDER not in Path(filename).parts:
            return source
        head, body, rest = source.partition("<body>")
        for words in sorted(FRAME, key=len, reverse=True):  # the longer first: "Task" stands in "Task:", too
            after = "(</b>|) " if words.endswith(":") else "()(?=[ <])"  # the blank is for `spaced` to say
            told = rf'{{{{ resources.{self.KEY}["{words}"] }}}}\1'
            rest = re.sub(rf"(?<=[>( ]){re.escape(words)}{after}", told, rest)
        linked = rf'(<a href="#(?:comment-)?{re.escape(self.NAME)}">[^<]*)</a>'
        rest = re.sub(linked, rf"\1 <code>{self.NAME}</code></a>", rest)
        return head + body + re.sub(r"{{[^{}]+}} / {{[^{}]+}}", r'<bdi dir="ltr">\g<0></bdi>', rest)  # 1 / 2, not 2 / 1


def language_of(nb: NotebookNode) -> str:
    """The language of a graded notebook as HTML names it: "fr", "zh-CN"; "en" where none is known.

    >>> language_of(nbformat.v4.new_notebook(metadata={"leaplm": {"locale": "zh_CN"}}))
    'zh-CN'
    """
    told = nb.metadata.get("leaplm", {})
    locale = str(told.get("locale", "")) if isinstance(told, dict) else ""
    return language_tag(locale) if LOCALE_NAME.fullmatch(locale) else "en"


@pass_context
def safe_markdown(context: Context, source: str) -> str:
    """A filter in place of nbconvert's `markdown2html`: renders, then cleans what came out."""
    attachments = context.get("cell", {}).get("attachments", {})
    return render_markdown(source, attachments)


def render_markdown(source: str, attachments: dict[str, dict[str, str]] | None = None) -> str:
    """Markdown as clean HTML; as plain text where it cannot be rendered.

    >>> render_markdown("[x](javascript:alert(1)) <b onclick=alert(1)>y</b>")
    '<p><a>x</a> <b>y</b></p>\\n'
    """
    source = cut(source, MAX_MARKDOWN)
    try:
        renderer = IPythonRenderer(escape=False, attachments=safe_attachments(attachments), exclude_anchor_links=True)
        return clean_html(MarkdownWithMath(renderer=renderer).render(source))
    except Exception:  # any: an attachment that is missing, nesting without end
        return f"<pre>{html.escape(source)}</pre>"


def safe_outputs(outputs: Any) -> list[dict[str, Any]]:
    """The outputs of a cell as nbformat has them, made safe; of rubbish nothing."""
    safe = []
    for output in outputs if isinstance(outputs, list) else ():
        made = _safe_output(output) if isinstance(output, dict) else None
        if len(safe) == MAX_OUTPUTS:
            return [*safe, {"output_type": "stream", "name": "stdout", "text": say(LEFT_OUT)}]
        safe += [made] if made else []
    return safe


def _safe_output(output: dict[str, Any]) -> dict[str, Any] | None:
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return {"output_type": kind, "name": name, "text": plain_text(_text(output.get("text")))}
    if kind == "error":
        name, message = (plain_text(_text(output.get(key)), 2_000) for key in ("ename", "evalue"))
        lines = output.get("traceback")
        lines = plain_text("\n".join(map(_text, lines)) if isinstance(lines, list) else "").split("\n")
        return {"output_type": kind, "ename": name, "evalue": message, "traceback": lines}
    if kind in ("display_data", "execute_result") and isinstance(output.get("data"), dict):
        data = {mime: clean for mime, value in output["data"].items() if (clean := _safe_data(mime, _text(value)))}
        count = {"execution_count": None} if kind == "execute_result" else {}
        words = picture_words(data, output.get("metadata"), plain_text)
        return {"output_type": kind, "data": data, "metadata": words, **count} if data else None
    return None


def _safe_data(mime: str, text: str) -> str:
    """The content of one mime type; "" for one that is not shown."""
    if mime in ("image/png", "image/jpeg"):
        return text if len(text) <= MAX_PICTURE and BASE64.fullmatch(text) else ""
    if mime == "text/html":
        return clean_html(CONTROLS.sub("", text)) if len(text) <= MAX_HTML else ""
    if mime in ("text/plain", "text/markdown"):  # the page renders markdown through `safe_markdown`
        return plain_text(text)
    return ""


def safe_attachments(attachments: Any) -> dict[str, dict[str, str]]:
    """The pictures among the attachments of a cell."""
    safe = {}
    for name, kinds in attachments.items() if isinstance(attachments, dict) else ():
        for mime in PICTURES:
            text = _text(kinds.get(mime)) if isinstance(kinds, dict) else ""
            if 0 < len(text) <= MAX_PICTURE and BASE64.fullmatch(text):
                safe.setdefault(str(name), {})[mime] = re.sub(r"\s", "", text)
    return safe


def plain_text(text: str, limit: int = MAX_TEXT) -> str:
    """A program's output as it would stand on a terminal in the end: no colours, progress bars in their last state.

    >>> plain_text("\\x1b[31mred\\x1b[0m 10%\\r 20%\\n")
    ' 20%\\n'
    """
    text = cut(text, 10 * limit).replace("\r\n", "\n")
    text = ESCAPES.sub("", text)
    text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return cut(CONTROLS.sub("", text), limit)


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}\n{say(LEFT_OUT)}"


def _text(value: Any) -> str:
    """A text as notebooks hold it: a string or a list of its lines; "" for anything else."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "".join(value)
    return value if isinstance(value, str) else ""
