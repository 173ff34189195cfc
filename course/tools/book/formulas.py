"""Formulas as MathML: browsers and e-readers show it without a script or a font from elsewhere."""

import latex2mathml.converter


def mathml(formula, display="inline"):
    """A LaTeX formula as MathML; display: "inline" or "block".

    >>> mathml("x^2").startswith("<math")
    True
    """
    known = formula.replace(r"\arg", r"\operatorname{arg}").replace(r"\_", "_")  # what latex2mathml does not know
    return latex2mathml.converter.convert(known, display=display)
