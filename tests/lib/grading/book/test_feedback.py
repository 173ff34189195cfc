"""Pages that show a student's work: nothing of it runs in a browser, hidden tests stay hidden, sizes are bounded."""

import base64
import copy
import datetime
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import nbformat
import nbgrader
import pytest
import quickstart
from jinja2 import Environment
from leaplm.grading.book.feedback import (
    FRAME,
    LEFT_OUT,
    MAX_OUTPUTS,
    MAX_PICTURE,
    FeedbackExporter,
    FrameWords,
    HideTests,
    SafeContent,
    cut,
    language_of,
    plain_text,
    render_markdown,
    safe_attachments,
    safe_outputs,
    without_hidden,
)
from leaplm.grading.book.safe_html import clean_html
from leaplm.grading.intake.receipts import WORK
from mini import LAB, make_course
from nbconvert.filters import Highlight2HTML
from nbgrader.api import Gradebook
from traitlets.config import Config

NAME = f"{LAB}.ipynb"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
OWN = "window.name='owned';document.documentElement.dataset.owned='yes'"  # what a script of the student does
CONFIG = "\nfrom leaplm.grading import configure\nconfigure(c)\n"  # what a course writes

# ---- HTML


HOSTILE = [
    f"<script>{OWN}</script>",
    f"<SCRIPT\n>{OWN}</script >",
    f"<script>{OWN}",
    f'<img src=x onerror="{OWN}">',
    f"<img src='x' onerror={OWN.replace(' ', '')} />",
    f'<svg onload="{OWN}"></svg>',
    f"<svg><script>{OWN}</script></svg>",
    f'<body onload="{OWN}">',
    f'<details open ontoggle="{OWN}">x</details>',
    f'<input autofocus onfocus="{OWN}">',
    f'<iframe srcdoc="<script>parent.{OWN}</script>"></iframe>',
    f'<iframe src="javascript:parent.{OWN}"></iframe>',
    f'<a href="javascript:{OWN}">click</a>',
    f'<a href=" java\tscript:{OWN}">click</a>',
    f"<a href='&#106;avascript:{OWN}'>click</a>",
    f'<a href="data:text/html,<script>{OWN}</script>">click</a>',
    f'<form action="javascript:{OWN}"><button>go</button></form>',
    f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={OWN}&gt;">',
    f'<noscript><p title="</noscript><img src=x onerror={OWN}>">',
    f'<textarea></textarea><img src=x onerror="{OWN}">',
    f"<p title='x' onmouseover=\"{OWN}\">hover</p>",
    f'<div style="background:url(javascript:{OWN})">x</div>',
    f'<link rel=stylesheet href="javascript:{OWN}"><meta http-equiv=refresh content="0;url=javascript:{OWN}">',
    f'<object data="javascript:{OWN}"></object><embed src="javascript:{OWN}">',
    f'<base href="javascript:{OWN};//"><a href="/x">x</a>',
    f"<<script>{OWN}//<</script>",
    f'<img """><script>{OWN}</script>">',
    f"<!--><script>{OWN}</script>-->",
    f'<x/onclick="{OWN}">x</x>',
    f'<a href=x:x style=x onfocus="{OWN}" tabindex=0>x</a>',
]


@pytest.mark.parametrize("text", HOSTILE)
def test_c7_only_harmless_tags_and_attributes_come_through(text):
    for made in (clean_html(text), render_markdown(text)):
        for tag in re.findall(r"<[^>]*>", made):
            assert re.fullmatch(r'</?[a-z][a-z0-9]*( (alt|title|rel|class|colspan)="[^"<>]*")*>', tag), tag


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (
            "<table border=1 class='dataframe'><tr><td colspan=2>1 &lt; 2</td></tr></table>",
            '<table border="1" class="dataframe"><tr><td colspan="2">1 &lt; 2</td></tr></table>',
        ),
        (
            "<a href=https://x.org/?a=1&amp;b=2>x</a>",
            '<a href="https://x.org/?a=1&amp;b=2" rel="noopener noreferrer nofollow">x</a>',
        ),
        (f"<img src='data:image/png;base64,{PNG}'>", f'<img src="data:image/png;base64,{PNG}">'),
        ("<img src='https://evil.org/seen.png'>", "<img>"),
        ("<img src='data:image/svg+xml;base64,AAAA'>", "<img>"),
        ("a < b and b > c & d", "a &lt; b and b &gt; c &amp; d"),
        ("</div></div><div id='score' class='panel navbar'>100", "<div>100</div>"),
        ("<p><b>x</p>y</b>", "<p><b>x</b></p>y"),
        ("<style>p {color: red}</style>x", "x"),
        ("<div title='a>b'>x", "<div>b'&gt;x</div>"),
    ],
)
def test_html_that_is_kept(text, made):
    assert clean_html(text) == made and clean_html(made) == made


def test_markdown_looks_as_usual():
    made = render_markdown("# Title\n\nIt is *so*: `a < b`, $x<y$\n\n```python\nx = 1\n```\n\n- [ ] one\n\n|a|\n|-|\n|1|\n")
    for part in (
        "<h1>Title</h1>",
        "<em>so</em>",
        "<code>a &lt; b</code>",
        "$x&lt;y$",
        'class="highlight"',
        "<li>one</li>",
        "<td>1</td>",
    ):
        assert part in made


def test_pictures_pasted_into_an_answer_are_shown_and_missing_ones_do_no_harm():
    shown = render_markdown("![p](attachment:a.png)", {"a.png": {"image/png": PNG}})
    assert f'src="data:image/png;base64,{PNG}"' in shown
    assert render_markdown("![p](attachment:b.png)") == "<pre>![p](attachment:b.png)</pre>"
    hostile = {"a": {"image/svg+xml": "PHN2Zz4="}, "b": {"image/png": '"><script>'}, "c": 7, "d": {"text/html": "x"}}
    assert safe_attachments(hostile) == {} == safe_attachments([1])


@pytest.mark.parametrize(
    "text", ["<b>", "<div>", "<a ", "<!--", "<script>", "</b>", "<a href='x' ", "<table><tr><td>", "<img a='"]
)
def test_html_without_end_takes_no_time(text):
    start = time.perf_counter()
    clean_html(text * (200_000 // len(text)))
    clean_html("<img " + text[1:] * 60_000 + ">")
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("text", ["[", ">", "*a", "<", "![](", "\\begin{a}", "$", "- ", "|a", "**", "`"])
def test_markdown_without_end_takes_no_time(text):
    start = time.perf_counter()
    render_markdown(text * 200_000)
    assert time.perf_counter() - start < 20


# ---- outputs


@pytest.mark.parametrize("line", ["x = a" + ".a" * 30_000, "x" * 60_000 + "?"])
def test_a_long_line_of_code_takes_no_time(line):
    """To colour it for the page takes the square of its length, as the lexer of IPython does it."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"def f():\n    return 1\n{line}")])
    made, _ = SafeContent().preprocess(made, {})
    started = time.process_time()
    assert LEFT_OUT in made.cells[0].source and Highlight2HTML(pygments_lexer="ipython3")(made.cells[0].source)
    assert time.process_time() - started < 5


def test_c9_terminal_codes_are_taken_out():
    assert plain_text("\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b]8;;http://e\x1b\\y\x9b1m\x07\x08") == "red xy1m"
    assert plain_text(" 1%\r 50%\r100%\nend\r\n") == "100%\nend\n"
    assert plain_text("a\u202eb\u2066c") == "abc" and plain_text("\x1b") == ""


def test_outputs_of_other_kinds_are_not_shown():
    kinds = {
        "text/html": "<b>x</b>",
        "application/javascript": OWN,
        "image/svg+xml": f"<svg onload='{OWN}'/>",
        "text/latex": "\\x",
        "application/vnd.jupyter.widget-view+json": {"model_id": "x"},
        "text/vnd.mermaid": "x",
        "application/pdf": "AA",
        "image/png": f'{PNG}" onerror="{OWN}',
        "text/plain": "x",
        "evil/x\n": "y",
    }
    made = safe_outputs([{"output_type": "display_data", "data": kinds, "metadata": {"text/html": {"isolated": True}}}])
    assert made == [{"output_type": "display_data", "data": {"text/html": "<b>x</b>", "text/plain": "x"}, "metadata": {}}]


@pytest.mark.parametrize(
    "output",
    [
        None,
        5,
        "x",
        [],
        {},
        {"output_type": "stream"},
        {"output_type": "stream", "text": 5, "name": "stdin"},
        {"output_type": "update"},
        {"output_type": "error", "traceback": 7},
        {"output_type": "error", "ename": [1], "traceback": [1, None]},
        {"output_type": "display_data", "data": [1]},
        {"output_type": "execute_result", "data": {"text/plain": {"a": 1}}},
    ],
)
def test_rubbish_outputs_become_nothing_or_plain(output):
    made = safe_outputs([output])
    nbformat.validate(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[nbformat.from_dict(o) for o in made])])
    )
    assert safe_outputs(output if not isinstance(output, list) else None) == []


def test_a_picture_keeps_its_words_and_no_other_metadata():
    words = {"image/png": {"alt": "a\x1b[1m <b>"}}
    shown = {"output_type": "display_data", "data": {"image/png": "AAAA"}, "metadata": words}
    for more in ({}, {"width": 3, "unconfined": True}):
        words["image/png"] |= more
        assert safe_outputs([shown])[0]["metadata"] == {"image/png": {"alt": "a <b>"}}
    for metadata in (None, 1, {"image/png": 1}, {"image/png": {"alt": 1}}, {"image/gif": {"alt": "x"}}):
        assert safe_outputs([{**shown, "metadata": metadata}])[0]["metadata"] == {}


def test_d7_sizes_are_bounded():
    many = safe_outputs([{"output_type": "stream", "name": "stdout", "text": "x" * 9_000_000}] * 500)
    assert len(many) == MAX_OUTPUTS + 1 and sum(len(output["text"]) for output in many) < 1_000_000
    assert safe_outputs([{"output_type": "display_data", "data": {"image/png": "A" * (MAX_PICTURE + 4)}}]) == []
    pictures = [{"output_type": "display_data", "data": {"image/png": "A" * (MAX_PICTURE - 4)}, "metadata": {}}] * 9
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x" * 100_000, outputs=pictures) for _ in range(9)])
    made, _ = SafeContent().preprocess(nbformat.from_dict(notebook), {})
    assert len(nbformat.writes(made)) < 13_000_000 and made.cells[0].source.endswith(LEFT_OUT)
    assert cut("abc", 3) == "abc"


MARKS = [("BEGIN HIDDEN TESTS", "END HIDDEN TESTS"), ("<<< secret", ">>> secret")]


@pytest.mark.parametrize(("begin", "end"), MARKS)
def test_hidden_tests_are_taken_out_by_the_marks_that_the_course_has_for_them(begin, end, caplog):
    assert without_hidden(f"a\n### {begin}\nb\n### {end}\nc", begin, end) == "a\nc"
    assert without_hidden(f"a\n# {begin}\nb", begin, end) == "a" and without_hidden("a\nb", begin, end) == "a\nb"
    config = Config({"ClearHiddenTests": {"begin_test_delimeter": begin, "end_test_delimeter": end},
                     "NbConvertBase": {"display_data_priority": ["text/plain"]}})  # fmt: skip
    marks = {"grade": True, "locked": True, "solution": False, "grade_id": "test", "points": 1}
    cell = nbformat.v4.new_code_cell(f"a\n# {begin}\nb\n# {end}", metadata={"nbgrader": marks})
    made, _ = HideTests(config=config).preprocess(nbformat.v4.new_notebook(cells=[cell]), {})
    assert made.cells[0].source == "a"
    assert "ClearHiddenTests" not in caplog.text  # which would warn on each page of what it does not know


# ---- the whole page, by nbgrader


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    course = make_course(tmp_path_factory.mktemp("feedback") / "course")
    source = nbformat.read(course / "solutions" / LAB / NAME, as_version=4)
    with Gradebook(f"sqlite:///{course / WORK / 'gradebook.db'}", "leaplm") as book:
        book.add_assignment(LAB)
        book.add_notebook(LAB, LAB)
        for cell in source.cells:
            marks = cell.metadata.get("nbgrader", {})
            if marks.get("grade"):
                book.add_grade_cell(marks.grade_id, LAB, LAB, max_score=marks.points, cell_type=cell.cell_type)
            if marks.get("solution"):
                book.add_solution_cell(marks.grade_id, LAB, LAB)
        for student in ("evil", "honest"):
            book.add_student(student)
            book.add_submission(LAB, student, timestamp=datetime.datetime(2026, 3, 1))
        comment = book.find_comment("why", LAB, LAB, "evil")
        comment.auto_comment = f"<script>{OWN}</script>[x](javascript:{OWN})"
        book.db.commit()
    put(course, "evil", attack(source))
    put(course, "honest", source)
    return course


def put(course, student, notebook):
    path = course / WORK / "autograded" / student / LAB / NAME
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)


def attack(source):
    """All the hostile texts in all the places where a student's texts can be."""
    notebook = copy.deepcopy(source)
    new = nbformat.v4
    for number, text in enumerate(HOSTILE):
        display = new.new_output("display_data", {"text/html": text, "text/plain": text})
        isolated = new.new_output("display_data", {"text/html": text}, metadata={"text/html": {"isolated": True}})
        others = new.new_output("display_data", {"image/svg+xml": text, "text/markdown": text, "text/latex": text})
        script = new.new_output("execute_result", {"application/javascript": OWN, "text/markdown": f"[x](javascript:{OWN})"})
        error = new.new_output("error", ename=text, evalue=text, traceback=[text, f"\x1b[31m{text}"])
        stream = new.new_output("stream", text=text)
        picture = new.new_output(
            "display_data", {"image/png": f'{PNG}" onerror="{OWN}'}, metadata={"image/png": {"width": f'1 onload="{OWN}"'}}
        )
        outputs = [display, isolated, others, script, error, stream, picture]
        notebook.cells.append(
            new.new_code_cell(text, id=f"code-{number}", outputs=outputs, metadata={"tags": ['">' + text.replace(",", "")]})
        )
        notebook.cells.append(new.new_markdown_cell(text, id=f"text-{number}"))
        notebook.cells.append(new.new_raw_cell(text, id=f"raw-{number}", metadata={"raw_mimetype": "text/html"}))
    more = [
        f"[x](javascript:{OWN})",
        f"![x](attachment:a)\n\n<javascript:{OWN}>",
        f"```{OWN}\n<script>{OWN}</script>\n```",
        f"[x]: javascript:{OWN}\n[x]",
        f"```mermaid\n</pre><script>{OWN}</script>\n```",
        f"$$</p><script>{OWN}</script>$$",
        f"$\\href{{javascript:{OWN}}}{{x}}$",
    ]
    pictures = {
        "a": {
            "image/svg+xml": base64.b64encode(
                f"<svg xmlns='http://www.w3.org/2000/svg' onload=\"{OWN}\"/>".encode()
            ).decode()
        }
    }
    notebook.cells += [new.new_markdown_cell(text, attachments=pictures) for text in more]
    why = next(cell for cell in notebook.cells if cell.id == "why")
    why.source, why.attachments = "\n\n".join(HOSTILE + more), pictures
    notebook.metadata.widgets = {
        "application/vnd.jupyter.widget-state+json": {"state": {"x": f"</script><script>{OWN}</script>"}}
    }
    notebook.metadata.title = f"</title><script>{OWN}</script>"
    return notebook


def feedback(course, student, config=""):
    """The page that `nbgrader generate_feedback` makes, under nbgrader's own configuration and ours."""
    own = (course / "nbgrader_config.py").read_text()
    (course / "nbgrader_config.py").write_text(own + config)
    quickstart.nbgrader(course, "generate_feedback", LAB, "--force", f"--student={student}")
    (course / "nbgrader_config.py").write_text(own)
    return course / WORK / "feedback" / student / LAB / f"{LAB}.html"


@pytest.fixture(scope="module")
def page(course):
    return feedback(course, "evil", CONFIG)


def test_the_page_shows_the_work_and_the_marks(course):
    text = feedback(course, "honest", CONFIG).read_text(encoding="utf-8")
    assert 'Score: <bdi dir="ltr">0.0 / 11.0</bdi>' in text and "mean_square" in text and 'name="check_mean_square"' in text
    assert '<span class="n">mean_square</span>' in text and "<h1>A mini lab</h1>" in text


@pytest.mark.parametrize(("metadata", "language"), [
    ({"leaplm": {"locale": "fr"}}, "fr"), ({"leaplm": {"locale": "zh_CN"}}, "zh-CN"), ({}, "en"), ({"leaplm": []}, "en"),
    ({"leaplm": {"locale": ""}}, "en"), ({"leaplm": {"locale": 'x" onload="alert(1)'}}, "en")])  # fmt: skip
def test_a_page_says_its_language(metadata, language):
    assert language_of(nbformat.v4.new_notebook(metadata=metadata)) == language


TEMPLATES = Path(nbgrader.__file__).parent / "server_extensions" / "formgrader"


def test_every_word_of_nbgraders_template_is_translated():
    path = TEMPLATES / "templates" / "feedback" / "index.html.j2"
    page = FrameWords(Environment()).preprocess(path.read_text(encoding="utf-8"), path.name, str(path))
    body = page.partition("<body>")[2]
    assert all(f'frame_words["{words}"]' in body for words in FRAME)
    assert re.findall(r"[A-Za-z]+", re.sub(r"{%.*?%}|{{.*?}}|<[^>]*>", " ", body, flags=re.S)) == []


def test_the_frame_is_in_the_language_of_the_notebook():
    """One exporter makes the pages of a whole class."""
    metadata = {"grade_id": "a", "grade": True, "solution": True, "points": 3, "score": 2, "comment": "(Top) Task"}
    cell = nbformat.v4.new_markdown_cell("Score: Task (Top)", metadata={"nbgrader": metadata})
    styles = TEMPLATES / "static" / "node_modules" / "bootstrap" / "dist" / "css"
    exporter = FeedbackExporter(config=Config(HTMLExporter={
        "template_name": "feedback", "extra_template_basedirs": [str(TEMPLATES / "templates")],
        "extra_template_paths": [str(styles)]}))  # fmt: skip
    told = {"notebook": "n", "score": 2, "max_score": 3, "late_penalty": 1}
    for locale in ("zh_CN", "", "ar"):
        notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"leaplm": {"locale": locale}})
        page = exporter.from_notebook_node(notebook, {"nbgrader": told})[0].partition("<body>")[2]
        assert page.count("Score:") == (1 if locale else 5) and page.count("(Top)") == (2 if locale else 3)
        assert re.search(r"：(?= )", page) is None and ("：<bdi" in page) == (locale == "zh_CN"), "its colon is a blank wide"
        assert page.count("Score: <bdi") == (0 if locale else 3)
        assert ("Written response" in page) == ("Student's answer" in page) == (not locale)


def test_the_contents_name_each_cell(course):
    text = feedback(course, "honest", CONFIG).read_text(encoding="utf-8")
    contents = text.partition('<div id="toc">')[2].partition("</div>")[0]
    named = re.findall(r'<a href="#(?:comment-)?(\w+)">[^<]+ <code>(\w+)</code></a>', contents)
    assert named and [name for _, name in named] == [place for place, _ in named] and len(named) == contents.count("<a ")


def test_a_long_message_stays_on_the_page(page):
    text = page.read_text(encoding="utf-8")
    assert '<html lang="en" dir="ltr">' in text and "white-space: pre-wrap" in text


def test_b1_the_page_has_no_hidden_tests(page):
    text = page.read_text(encoding="utf-8")
    assert "grade_cell" not in text and "HIDDEN TESTS" not in text and "isclose" in text  # the visible test stays


def test_c7_the_page_has_no_script_but_nbgraders(page):
    text = page.read_text(encoding="utf-8")
    scripts = re.findall(r"<script[^>]*>", text)
    assert len(scripts) == 2 and all("mathjax" in script for script in scripts)
    assert text.index("Content-Security-Policy") < text.index("<script")
    tags = [re.sub(r'"(?!\s*javascript)[^"]*"', '""', tag) for tag in re.findall(r"<[a-zA-Z][^>]*>", text)]
    assert not [tag for tag in tags if re.search(r"\son[a-z]+\s*=|javascript:|srcdoc|<(iframe|svg|object|base|form)\b", tag)]
    assert len(text) < 3_000_000 and "\x1b" not in text


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# What a reader does: click each link, hover over everything, focus it.
READER = """<script>window.addEventListener('load', () => {
  for (const node of document.querySelectorAll('*')) {
    const link = node.tagName == 'A';
    if (link && (node.getAttribute('href') || '').match(/^\\s*(javascript|data)/i)) node.click();
    for (const kind of ['mouseover', 'focus', 'click', 'toggle']) if (!link) node.dispatchEvent(new Event(kind));
  }
})</script>"""


def in_browser(page, tmp_path, policy):
    """Whether a script of the student ran when the page was read, with or without the page's own policy."""
    text = page.read_text(encoding="utf-8").replace("https://cdnjs.cloudflare.com", "about:")  # tests ask no network
    if not policy:
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text).replace("</body>", READER + "</body>")
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8")
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--timeout=8000",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "HOME": str(tmp_path)})
    assert "notebook-container" in done.stdout, done.stderr
    return 'data-owned="yes"' in done.stdout


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")
def test_c7_no_script_runs_in_a_browser(course, page, tmp_path):
    assert not in_browser(page, tmp_path, policy=True)
    assert not in_browser(page, tmp_path, policy=False)  # the first wall alone


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")
def test_c7_in_nbgraders_own_page_it_does(course, page, tmp_path):
    """So that the test before can fail; and the policy alone holds too."""
    own = '["nbgrader.preprocessors.GetGrades", "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor"]'
    plain = f"c.GenerateFeedback.preprocessors = {own}"
    reset = "\nc.HTMLExporter.preprocessors = []\nc.HTMLExporter.filters = {}\n"
    exporter = 'c.GenerateFeedback.exporter_class = "%s"\n'
    unsafe = feedback(course, "evil", reset + plain + "\n" + exporter % "nbconvert.exporters.HTMLExporter")
    assert in_browser(unsafe, tmp_path, policy=True)
    walled = feedback(course, "evil", reset + plain + "\n" + exporter % "leaplm.grading.book.feedback.FeedbackExporter")
    assert not in_browser(walled, tmp_path, policy=True)


def test_c7_formgrader_shows_the_teacher_the_same_safe_content(course):
    """Formgrader makes its page with the HTMLExporter of the same configuration; there a script has the teacher's rights."""
    from nbconvert.exporters import HTMLExporter
    from nbgrader.server_extensions.formgrader import handlers
    from traitlets.config import Config

    config = Config()
    exec(CONFIG, {"c": config})
    config.HTMLExporter.template_name = "formgrade"
    config.HTMLExporter.extra_template_basedirs = [handlers.template_path]
    names = (
        "assignment_id",
        "notebook_id",
        "submission_id",
        "base_url",
        "mathjax_url",
        "student",
        "last_name",
        "first_name",
    )
    resources = {**dict.fromkeys(names, ""), "index": 0, "total": 1, "notebook_path": "", "keyword": ""}
    path = course / WORK / "autograded" / "evil" / LAB / NAME
    text, _ = HTMLExporter(config=config).from_filename(str(path), resources=resources)
    assert "grade_cell" in text and "mean_square" in text  # a teacher sees the hidden tests
    tags = [re.sub(r'"(?!\s*javascript)[^"]*"', '""', tag) for tag in re.findall(r"<[a-zA-Z][^>]*>", text)]
    assert not [
        tag
        for tag in tags
        if re.search(r"\son(error|load|focus|toggle|mouseover)\s*=|javascript:|<(iframe|svg|object)\b", tag)
    ]
    assert f"<script>{OWN}" not in text
