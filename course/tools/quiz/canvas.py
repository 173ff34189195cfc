"""Questions as a QTI 1.2 package: Canvas, Settings, Import Course Content, "QTI .zip file". Others read it, too."""

import io
import zipfile

from xml_parts import tag, to_file, to_html

ASSESSMENT = "http://www.imsglobal.org/xsd/ims_qtiasiv1p2"
MANIFEST = "http://www.imsglobal.org/xsd/imsccv1p1/imscp_v1p1"
KINDS = {"choice": "multiple_choice_question", "number": "numerical_question", "short": "short_answer_question"}
MOMENT = (1980, 1, 1, 0, 0, 0)  # of each file in the package: the same questions make the same bytes


def package(lab, title, questions):
    """The bytes of the zip: a manifest and the quiz."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, element in (("imsmanifest.xml", manifest(lab)), (f"{lab}/{lab}.xml", quiz(lab, title, questions))):
            archive.writestr(zipfile.ZipInfo(name, MOMENT), to_file(element))
    return content.getvalue()


def manifest(lab):
    resource = tag("resource", tag("file", href=f"{lab}/{lab}.xml"), identifier=lab, type="imsqti_xmlv1p2")
    metadata = tag("metadata", tag("schema", "IMS Content"), tag("schemaversion", "1.1.3"))
    parts = (metadata, tag("organizations"), tag("resources", resource))
    return tag("manifest", *parts, identifier=f"{lab}_package", xmlns=MANIFEST)


def quiz(lab, title, questions):
    items = [item(f"{lab}_{one.name}", one) for one in questions]
    section = tag("section", *items, ident="root_section")
    return tag("questestinterop", tag("assessment", section, ident=lab, title=title), xmlns=ASSESSMENT)


def item(ident, one):
    answers = [f"{ident}_{number}" for number in range(1 + len(one.wrong))] if one.kind == "choice" else []
    data = {"question_type": KINDS[one.kind], "points_possible": "1", "original_answer_ids": ",".join(answers),
            "assessment_question_identifierref": f"{ident}_question"}
    fields = [tag("qtimetadatafield", tag("fieldlabel", key), tag("fieldentry", value)) for key, value in data.items()]
    texts = [(answers[number + 1], why) for number, (_, why) in enumerate(one.wrong)]
    feedback = [told(f"{answer}_fb", why) for answer, why in texts] + [told("general_fb", one.because)]
    return tag("item", tag("itemmetadata", tag("qtimetadata", *fields)), presentation(one, answers),
               processing(one, answers), *feedback, ident=ident, title=one.name)


def material(text):
    return tag("material", tag("mattext", to_html(text), texttype="text/html"))


def told(ident, text):
    return tag("itemfeedback", tag("flow_mat", material(text)), ident=ident)


def presentation(one, answers):
    if one.kind == "choice":
        texts = [one.right, *(text for text, _ in one.wrong)]
        labels = [tag("response_label", material(text), ident=name) for name, text in zip(answers, texts, strict=True)]
        asked = tag("response_lid", tag("render_choice", *labels), ident="response1", rcardinality="Single")
    else:
        form = {"fibtype": "Decimal"} if one.kind == "number" else {}
        label = tag("response_label", ident="answer1", rshuffle="No")
        asked = tag("response_str", tag("render_fib", label, **form), ident="response1", rcardinality="Single")
    return tag("presentation", material(one.ask), asked)


def processing(one, answers):
    score = tag("decvar", maxvalue="100", minvalue="0", varname="SCORE", vartype="Decimal")
    shown = [respond(tag("other"), "general_fb"), *(respond(equal(name), f"{name}_fb") for name in answers[1:])]
    full = tag("setvar", "100", action="Set", varname="SCORE")
    right = tag("respcondition", tag("conditionvar", *is_right(one, answers)), full, **{"continue": "No"})
    return tag("resprocessing", tag("outcomes", score), *shown, right)


def respond(condition, feedback):
    shown = tag("displayfeedback", feedbacktype="Response", linkrefid=feedback)
    return tag("respcondition", tag("conditionvar", condition), shown, **{"continue": "Yes"})


def equal(value):
    return tag("varequal", value, respident="response1")


def is_right(one, answers):
    """The conditions under which an answer is right."""
    if one.kind == "choice":
        return [equal(answers[0])]
    if one.kind == "short":
        return [equal(text) for text in one.accept]
    low, high = (f"{one.number + off:.10g}" for off in (-one.within, one.within))
    between = tag("and", tag("vargte", low, respident="response1"), tag("varlte", high, respident="response1"))
    return [tag("or", equal(f"{one.number:.10g}"), between)]
