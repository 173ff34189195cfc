"""llama.cpp runs a GGUF file, by the package xllamacpp: `pip install "leaplm[llama]"` (it has wheels for CPUs)."""

import contextlib
import json

from leaplm.locales import say


@contextlib.contextmanager
def running(path, threads=1, context=512):
    """A function (prompt, count) -> (text, tokens a second): greedy decoding of `count` tokens by llama.cpp.

    Raises ModuleNotFoundError without the package, ValueError where it does not take the file.

    >>> with running("smollm2-q4_0.gguf") as write:         # doctest: +SKIP
    ...     text, speed = write("The rain in Nairobi", 20)
    """
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.n_parallel = str(path), context, 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    try:
        server = xllamacpp.Server(settings)
    except RuntimeError as problem:
        raise ValueError(say("llama.cpp does not take {path}: {problem}", path=path, problem=problem)) from None

    def write(prompt, count):
        asked = {"prompt": prompt, "max_tokens": count, "temperature": 0.0, "ignore_eos": True}
        answer = server.handle_completions(asked)
        answer = answer if isinstance(answer, dict) else json.loads(answer)
        return answer["choices"][0]["text"], answer["timings"]["predicted_per_second"]

    yield write
