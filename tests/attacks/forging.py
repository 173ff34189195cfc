"""A: a higher mark than the answers are worth."""

import importlib.util
import marshal

from nbformat.v4 import new_output

from attacks.rows import cheat
from attacks.work import Work

JUDGE = "the mark is computed in another process"
PLAIN_VALUES = "only plain values, copied, leave the student's process"
POINTS = {"check_mean_square": 3, "check_train_step": 4, "check_slope": 2}
# Code that makes a check cell, should it ever run beside the student's code, show another mark.
SHOW_FULL_MARKS = """
import leaplm.grading
def grade_cell(lab, name):
    from IPython import get_ipython
    get_ipython().displayhook("passed")
leaplm.grading.grade_cell = grade_cell
"""


@cheat("A1", by="metadata and tags are ours")
def skip_tag(work: Work) -> None:
    """A tag on every test cell makes it be skipped."""
    for cell in work.checks:
        cell.metadata.tags = ["skip-execution"]


@cheat("A2", by=JUDGE)
def show_text(work: Work) -> None:
    """The tested function shows a text, which plain nbgrader takes for full marks."""
    work.inside("get_ipython().displayhook('passed')")


@cheat("A3", by=JUDGE)
def show_too_much(work: Work) -> None:
    """The tested function shows a billion points."""
    work.inside("get_ipython().displayhook(1e9)")


@cheat("A4", by=PLAIN_VALUES, states="graded, partial")
def equal_to_everything(work: Work) -> None:
    """Returns a number and a tensor that are equal to everything."""
    work.code("""
        class Always(float):
            def yes(self, *others): return True
            __eq__ = __ge__ = __le__ = __gt__ = __lt__ = __bool__ = yes
            def same(self, *others): return self
            __sub__ = __rsub__ = __add__ = __radd__ = __abs__ = __mul__ = same
            def __float__(self): return self
            def __array__(self, *args, **kwargs): return self
        class AlwaysTensor(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None): return True
        def mean_square(x):
            return Always(0.5) if len(x) % 2 else torch.zeros(()).as_subclass(AlwaysTensor)
    """)
    work.code("def train_step(model, batch, optimizer):\n    return Always(0.5)", "train_step")


@cheat("A5", by=JUDGE)
def rewrite_tests(work: Work) -> None:
    """A syntax tree transformer takes the asserts and the call of the hidden check out of each later cell."""
    work.code("""
        import ast
        class Rewrite(ast.NodeTransformer):
            def visit_Assert(self, node):
                return ast.Pass()
            def visit_Call(self, node):
                if "grade" in ast.unparse(node.func):
                    return ast.parse("get_ipython().displayhook('passed')", mode="eval").body
                return self.generic_visit(node)
        get_ipython().ast_transformers.append(Rewrite())
    """)


QUIT = """
    class Quit(BaseException):
        pass
    def mean_square(x):
        raise Quit
"""


@cheat("A6", by=JUDGE)
def silence_errors(work: Work) -> None:
    """Tracebacks are switched off, and the tested function raises what no check catches."""
    work.code(QUIT + """
    get_ipython().showtraceback = lambda *args, **kwargs: None
    """)  # fmt: skip


@cheat("A7", by=JUDGE)
def forge_results(work: Work) -> None:
    """As A6, and the shell's result says that all went well."""
    work.code(QUIT + """
    shell = get_ipython()
    run_cell_async = shell.run_cell_async
    async def run_well(*args, **kwargs):
        result = await run_cell_async(*args, **kwargs)
        result.error_in_exec = result.error_before_exec = None
        return result
    shell.run_cell_async = run_well
    shell.showtraceback = shell._showtraceback = lambda *args, **kwargs: None
    """)  # fmt: skip


@cheat("A8", by="the judge asks for values; a process that runs nothing has none")
def run_nothing(work: Work) -> None:
    """The kernel replies that a cell ran well, without running it."""
    work.code("""
        async def do_nothing(code, silent, *args, **kwargs):
            return {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
        attempt(setattr, getattr(get_ipython(), "kernel", None), "do_execute", do_nothing)
    """)


@cheat("A9", by="there are no kernel messages; what comes from the process is data")
def forge_messages(work: Work) -> None:
    """The tested function sends a result of its own on the kernel's raw connection."""
    work.inside("""
        kernel = get_ipython().kernel
        result = {"execution_count": 1, "data": {"text/plain": "'passed'"}, "metadata": {}}
        kernel.session.send(kernel.iopub_socket, "execute_result", result, parent=kernel.get_parent())
    """)


@cheat("A10", by="comparisons are made in the judge's process", states="graded, partial, killed, tampered")
def patch_comparisons(work: Work) -> None:
    """NumPy's, torch's and Python's own comparisons always say yes, and JSON is read as it suits."""
    work.code("""
        import json, math
        import numpy
        for module in (numpy, torch, math):
            for name in ("isclose", "allclose", "equal", "array_equal", "array_equiv"):
                if hasattr(module, name):
                    setattr(module, name, lambda *args, **kwargs: True)
        loads = json.loads
        json.loads = lambda text, **kwargs: {"slope": 2.0} if "slope" in str(text)[:10] else loads(text, **kwargs)
    """)


@cheat("A11", by="the judge has its own, clean modules")
def stub_helper(work: Work) -> None:
    """The module that the tests import is replaced by a stub."""
    work.code("""
        import types
        stub = types.ModuleType("leaplm.grading")
        stub.grade_cell = stub.grade = lambda lab, name, *args: get_ipython().displayhook("passed")
        sys.modules["leaplm.grading"] = stub
    """)


# A library of the student's that does what the true one does, and makes the tests show another mark.
FALSE_LIBRARY = f"""
import importlib, os, sys
here = os.path.dirname(os.path.abspath(__file__))
kept, sys.path[:] = list(sys.path), [path for path in sys.path if os.path.abspath(path or ".") != here]
sys.modules.pop(__name__)
true = importlib.import_module(__name__)
sys.path[:] = kept
{SHOW_FULL_MARKS}
"""


@cheat("A12", by="the libraries are imported before a submission is there, from read-only folders")
def shadow_libraries(work: Work) -> None:
    """Files beside the notebook have the names of libraries that the lab and Python import."""
    for name in ("torch", "numpy", "json", "sitecustomize", "usercustomize", "conftest"):
        work.files[f"{name}.py"] = FALSE_LIBRARY.encode()


@cheat("A13", by="no compiled file is taken from a submission")
def compiled_library(work: Work) -> None:
    """As A12 with compiled files, which nobody reads."""
    code = compile(FALSE_LIBRARY, "torch.py", "exec")
    content = importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)
    work.files["torch.pyc"] = work.files["__pycache__/torch.cpython-311.pyc"] = content


@cheat("A14", by="behaving otherwise does not help: inputs are random, the judge is elsewhere")
def notice_grading(work: Work) -> None:
    """Behaves while it is worked on, and forges where it notices that it is graded."""
    work.code("""
        signs = [name for name in os.environ if "NBGRADER" in name or "LEAPLM" in name]
        signs += [part for part in os.getcwd().split("/") if part in ("autograded", "student")]
        signs += [name for name in sys.modules if name.startswith("leaplm.grading")]
    """)
    work.inside("if signs:\n    get_ipython().displayhook('passed')")


@cheat("A15", by="hidden, random inputs")
def hard_coded(work: Work) -> None:
    """The answer to the visible example is written down."""
    work.code("def mean_square(x):\n    return torch.tensor(5.0)")


@cheat("A16", by="references are nowhere in the sandbox")
def copy_reference(work: Work) -> None:
    """Takes its answers from the reference answers on the disk."""
    work.code("""
        import ast
        def take(reference, name):
            for path in files(COURSE + "/course"):
                if "bank" in path and (text := read(path)):
                    found = [node for node in ast.parse(text).body if getattr(node, "name", "") == reference]
                    found[0].decorator_list, found[0].name = [], name
                    exec(compile(ast.Module(found, []), path, "exec"), globals())
        take("through_norm", "mean_square")
    """)
    work.code('take("zero_at_end", "train_step")', "train_step")


@cheat("A17", by="what a file claims is measured again")
def typed_metrics(work: Work) -> None:
    """A file beside the model claims what the model does not do."""
    work.files["artifacts/metrics.json"] = work.files["metrics.json"] = b'{"slope": 2.0, "accuracy": 1.0, "points": 9}'


@cheat("A18", by="outputs of a submission are dropped")
def stale_outputs(work: Work) -> None:
    """The notebook comes with outputs that show full marks."""
    for cell in work.checks:
        points = POINTS[cell.id]
        verdict = {"check": cell.id.removeprefix("check_"), "points": points, "message": "right", "fault": None}
        cell.outputs = [
            new_output("display_data", data={"application/vnd.leaplm.verdict+json": verdict}),
            new_output("execute_result", data={"text/plain": str(points)}, execution_count=1),
        ]
