"""Shared by all tests: no test may reach for a model hub, and real assets come from the machine's own store.

Tests run in several processes (`make test`). What shares models, a class or a lab's solution stays together in one of them.
"""

import os
import sys

# Many containers set it; then each of the hundreds of processes of these tests compiles pandas and IPython anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Several workers share the cores, and OpenMP's threads do not live on in the forks of some tests; before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["LEAPLM_STUDENT"] = "seed 0"  # the same models on every machine

import gc  # noqa: E402

gc.set_threshold(10_000, 20, 20)  # a model of torch is ten thousand objects, none of them garbage
gc.disable()  # until all is imported and collected: it stays, and looking at it again and again takes as long as the rest
import random  # noqa: E402
import re  # noqa: E402

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# Machines of all kinds; the same examples in each run, others with LEAPLM_TEST_SEED: what they find is mended and kept.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow],
                          derandomize="LEAPLM_TEST_SEED" not in os.environ)
settings.load_profile("busy")

BY_LAB = ("tests/course/test_banks.py", "tests/course/test_labs.py", "tests/course/tools/test_mutants.py")
LAB = re.compile(r"\b(lab\d+_[a-z]+)\b")
# Groups that take minutes go first, in this order, so that the processes end together; the bundle's tests wait the most.
LONGEST = ("tests/lib/bundle/", "tests/course/test_banks.py lab1_", "tests/attacks/", "tests/course/test_colab.py",
           "tests/course/test_banks.py lab", "tests/lib/grading/test_", "tests/browser/", "tests/course/",
           "tests/lib/serve/", "tests/test_install.py")


@pytest.fixture(scope="session")
def assets_ready():
    """The two models and the English ratings, fetched once per machine; gives `asset_path`."""
    from leaplm.assets import asset_path, fetch

    fetch(["minilm", "vader", "smollm2"])
    return asset_path


@pytest.fixture(scope="session")
def shallow(assets_ready, tmp_path_factory):
    """The environment of a run with models of two layers and short texts (see tests/support/shallow.py)."""
    from shallow import make_shallow_store

    return {"LEAPLM_HOME": str(make_shallow_store(tmp_path_factory.mktemp("store")))}


@pytest.fixture(scope="session")
def short(assets_ready, tmp_path_factory):
    """The environment of a run with short texts."""
    from shallow import make_short_store

    return {"LEAPLM_HOME": str(make_short_store(tmp_path_factory.mktemp("store")))}


@pytest.fixture(scope="session")
def kinds_of_servers():
    """What tests/support/shared_servers.py puts in the place of the engine's servers."""
    from shared_servers import KINDS

    yield KINDS
    for kind in KINDS.values():
        kind.close()


@pytest.fixture(scope="module")
def shared_examiners(kinds_of_servers):
    """Engines share the servers that examiners are forked from."""
    from leaplm.grading.judge import engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "ExaminerServer", kinds_of_servers["ExaminerServer"])
        yield


@pytest.fixture(scope="module")
def shared_servers(kinds_of_servers, shared_examiners):
    """Engines share all their servers. Not for tests that end them, change what they are started with, or use several."""
    from leaplm.grading.judge import engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "ForkServer", kinds_of_servers["ForkServer"])
        yield


@pytest.fixture
def needs_asset():
    """needs_asset("afrisenti") gives the asset's folder, or skips the test where it has not been fetched."""
    from leaplm.assets import AssetMissing, asset_path

    def path_or_skip(name):
        try:
            return asset_path(name)
        except AssetMissing as problem:
            pytest.skip(str(problem))

    return path_or_skip


def pytest_collection_finish():
    """What was imported and collected stays, and hardly any of it is garbage; from here on: see `what_stays`."""
    gc.freeze()
    gc.enable()


def seed_all():
    """What a test draws without a seed of its own is the same in each run, also when other tests run before it."""
    seed = int(os.environ.get("LEAPLM_TEST_SEED", 0))  # others: to see what only luck lets pass
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.manual_seed(seed)  # torch.manual_seed keeps a traceback for an accelerator


@pytest.fixture(scope="module", autouse=True)
def seed_of_file():
    """For the models that a file's fixtures make."""
    seed_all()


@pytest.fixture(autouse=True)
def seed_of_test():
    seed_all()


@pytest.fixture(scope="module", autouse=True)
def what_stays():
    """All that is there when a file's tests begin, imported for them or kept by those before, stays to the end.

    The collector need not look at it in each test, here or in a fork.
    """
    gc.collect()
    gc.freeze()


def group_of(nodeid):
    """What a test shares fixtures with: its file, or a lab's tests of its file where a lab brings its own."""
    file, _, name = nodeid.partition("::")
    lab = LAB.search(name.partition("[")[2])
    return f"{file} {lab[1]}" if lab and file.startswith(BY_LAB) else file


def pytest_collection_modifyitems(items):
    def turn(item):
        group = group_of(item.nodeid)
        return next((number for number, long in enumerate(LONGEST) if group.startswith(long)), len(LONGEST))

    items.sort(key=turn)  # stable: the order within a file stays


def pytest_xdist_make_scheduler(config, log):
    """Groups by our own rule: pytest 9.2 and xdist 3.8 together lose the groups of --dist loadgroup."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)
