"""Questions as Moodle XML: question bank, Import, format "Moodle XML"."""

from xml_parts import tag, to_file, to_html


def bank(title, questions):
    """The file of a bank whose category in Moodle is called `title`, as bytes."""
    path = f"$course$/top/LeapLM/{title.replace('/', '//')}"
    category = tag("question", tag("category", tag("text", path)), type="category")
    return to_file(tag("quiz", category, *map(question, questions)))


def question(one):
    parts = {"choice": choice, "number": number, "short": short}[one.kind](one)
    kind = {"choice": "multichoice", "number": "numerical", "short": "shortanswer"}[one.kind]
    texts = (tag("name", tag("text", one.name)), page("questiontext", one.ask), page("generalfeedback", one.because))
    return tag("question", *texts, tag("defaultgrade", "1"), tag("penalty", "0.3333333"), *parts, type=kind)


def page(name, text, **attributes):
    return tag(name, tag("text", to_html(text)), format="html", **attributes)


def answer(text, fraction, why="", form="moodle_auto_format", *more):
    feedback = tag("feedback", tag("text", to_html(why) if why else ""), format="html")
    return tag("answer", tag("text", text), *more, feedback, fraction=str(fraction), format=form)


def choice(one):
    yield tag("single", "true")
    yield tag("shuffleanswers", "true")
    yield tag("answernumbering", "abc")
    yield answer(to_html(one.right), 100, form="html")
    for text, why in one.wrong:
        yield answer(to_html(text), 0, why, "html")


def number(one):
    yield answer(f"{one.number:.10g}", 100, "", "moodle_auto_format", tag("tolerance", f"{one.within:.10g}"))


def short(one):
    yield tag("usecase", "0")
    yield from (answer(text, 100) for text in one.accept)
