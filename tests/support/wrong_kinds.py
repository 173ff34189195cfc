"""Results of another kind than was asked for: for each function of a check, sources that return one in its place.

Some return the same nonsense whatever they are given; the others call the solution and spoil what it gives.
"""

NONSENSE = ("None", "'x'", "3", "[]", "{}", "[[1.0, 2.0], [3.0]]", "[None] * 3", "[{'a': 'x'}]", "object()", "float('nan')",
            "__import__('torch').zeros(7, 3, 2)")  # fmt: skip
SPOILERS = {
    "in a list": "[result]",
    "one thing less": "deep(result, lambda item: None, 1)[:-1] if hasattr(result, '__len__') else ()",
    "None inside": "deep(result, lambda item: None, 1)",
    "texts inside": "deep(result, lambda item: 'x')",
    "bytes inside": "deep(result, lambda item: b'x')",
    "lists for numbers": "deep(result, lambda item: [item])",
    "not a number": "deep(result, lambda item: item * 0 + float('nan') if hasattr(item, 'dtype') else float('nan'))",
    "no end": "deep(result, lambda item: float('inf'))",
    "below 0": "deep(result, lambda item: -7)",
    "arrays cut": "deep(result, lambda item: item[:-1] if getattr(item, 'ndim', 0) else item)",
}

SAME = """
def {name}(*args, **kwargs):
    return {value}
"""
SPOILED = """
def spoiled(answer):
    def deep(result, change, left=9):
        if isinstance(result, dict) and left:
            return {{key: deep(item, change, left - 1) for key, item in result.items()}}
        if isinstance(result, (list, tuple)) and left:
            return type(result)([deep(item, change, left - 1) for item in result])
        return change(result)

    def call(*args, **kwargs):
        result = answer(*args, **kwargs)
        return {value}
    return call

{name} = spoiled({name})
"""


def sources(name, callable_):
    """(what is wrong, source) of each wrong result of a function, or wrong value of a variable."""
    if not callable_:
        return [(value, f"{name} = {value}\n") for value in NONSENSE]
    return [*((value, SAME.format(name=name, value=value)) for value in NONSENSE),
            *((why, SPOILED.format(name=name, value=value)) for why, value in SPOILERS.items())]  # fmt: skip
