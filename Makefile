# The few words of the course. All of them first see to the environment (.venv) and the models and data; that costs
# a second when nothing changed. Without make: python install.py, then the command below the word.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(abspath $(BIN)):$(PATH)

# A mirror beside the clone (a folder from a USB stick or a share) is used before any network.
ifneq ($(wildcard ../shared/mirror/.),)
export LEAPLM_MIRROR ?= $(abspath ../shared/mirror)
endif

FUZZ ?= 10000  # examples of each kind
SEEDS ?= 10  # of each answer of the banks
# Processes of the tests: twice as many as there are cores, since many tests wait for others; each takes up to 2 GB.
WORKERS ?= $(shell $(PYTHON) -c 'import os; m = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"); print(max(2, min(2 * os.cpu_count(), 8, m // 3 // 2**30)))')
# Where the labs are in the language of LEAPLM_LOCALE: pt_BR and fr_FR.UTF-8 find pt and fr; one that is not there is said.
LANGUAGE_FOLDER = $$(python -c "from leaplm.translation import usual_locale as locale; print('languages/' + locale() + '/' if locale() else '')")
QUICK := tests/lib/test_imports.py tests/lib/test_runtime.py tests/lib/test_evaluation.py tests/lib/test_data.py \
	tests/lib/prompting/test_templates.py tests/lib/tokens tests/lib/grading/rebuild tests/lib/grading/intake \
	tests/course/tools/test_build.py tests/course/tools/test_tables.py tests/course/tools/test_start.py \
	tests/course/tools/test_mistakes.py tests/course/tools/test_translate.py tests/test_install.py

.PHONY: lab teach test languages quick build grade-demo fuzz nbgrader-tests banks mutants bench docs calibrate measure run-labs books clean setup setup-dev

lab: setup          ## JupyterLab on the labs; make lab LEAPLM_LOCALE=fr, LAB_ARGS="--no-browser --port 9999"
	leaplm progress labs >/dev/null
	jupyter lab --ServerApp.root_dir=labs --LabApp.default_url=/lab/tree/$(LANGUAGE_FOLDER)START.md $(LAB_ARGS)

teach: setup        ## JupyterLab on the whole course, with nbgrader's Formgrader and Create Assignment
	jupyter labextension enable @jupyter/nbgrader:formgrader
	jupyter labextension enable @jupyter/nbgrader:create-assignment
	jupyter lab --LabApp.default_url=/lab/tree/course/TEACHING.md $(LAB_ARGS)

test: setup-dev     ## all tests; options for pytest: make test TEST_ARGS="-k assets"; LEAPLM_TRAINED=an empty folder trains anew; LEAPLM_TEST_SEED=7 draws other numbers
	python -m pytest -n $(WORKERS) $(TEST_ARGS)

languages: setup-dev  ## every lab at scale tiny in every language that has texts with labels
	LEAPLM_LANGUAGES="$$(python -c 'from leaplm import data; print(*data.AFRISENTI)')" python -m pytest -n 2 tests/course/test_labs.py \
		-k "other_languages and not mine.csv"

quick: setup-dev    ## under a minute: style, imports, fresh notebooks, pure functions; what one runs before each commit
	ruff check .
	python -m pytest -n 2 -q $(QUICK)

build: setup        ## course/*/lab.py -> solutions/ and labs/ (all languages), banks -> course/MISTAKES.md, the tables of labs
	python course/tools/build.py $(LAB)
	python course/tools/mistakes.py
	python course/tools/translate.py build
	python course/tools/tables.py
	python course/tools/start.py

grade-demo: setup   ## a class of generated submissions through nbgrader
	python -m leaplm.grading.demo $(or $(LAB),lab2_finetuning)

fuzz: setup-dev     ## random bytes for all that reads what students hand in; make fuzz FUZZ=1000000 goes on for hours
	LEAPLM_FUZZ=$(FUZZ) python -m pytest -q tests/lib/grading/test_fuzz.py

nbgrader-tests: setup-dev   ## nbgrader's own tests of `nbgrader autograde`, with our grader in its configuration
	LEAPLM_NBGRADER_TESTS=1 python -m pytest -q tests/lib/grading/test_nbgraders_own.py

banks: setup-dev    ## every answer of the banks with many seeds, after a check was changed; make banks LAB=lab2 SEEDS=30
	LEAPLM_SEEDS=$(SEEDS) python -m pytest -q -n $(WORKERS) tests/course/test_banks.py $(if $(LAB),-k $(LAB))

mutants: setup      ## small changes of the solutions, which the checks must notice; make mutants LAB=lab2_finetuning
	python course/tools/mutants.py $(LAB)

bench: setup        ## ours beside the usual: fine-tuning, pretraining, scoring of prompts, grading of a class; the service under load
	python tests/bench/training.py
	python tests/bench/pretraining.py
	python tests/bench/scoring.py
	python tests/bench/grading.py
	python tests/bench/serving.py

docs: setup-dev     ## book (web site, EPUB), slides and question banks, in build/docs; the first time every lab is run
	python course/tools/slides.py
	python course/tools/questions.py
	python course/tools/book/build.py
	python course/tools/book/build.py --format epub

books: setup-dev    ## the book as a web site in every language; as `make docs`, it fails where a page is too heavy for a bad line
	for locale in en $(notdir $(wildcard course/locale/*)); do python course/tools/book/build.py --locale $$locale || exit 1; done

calibrate: setup    ## the studies behind a lab's figures and thresholds: make calibrate LAB=lab2_finetuning
	python -m leaplm.calibration course/$(or $(LAB),lab2_finetuning)/study.py

measure: setup      ## minutes and memory of the labs on this machine, into the table of README.md
	python course/tools/measure.py $(LAB)

run-labs: measure   ## every solved lab from top to bottom, with its minutes and memory

clean:              ## everything that was made here; models and data stay in their store
	rm -rf .venv .nbgrader-work .pytest_cache .ruff_cache build lib/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup:
	@$(PYTHON) install.py

setup-dev:
	@$(PYTHON) install.py --dev
