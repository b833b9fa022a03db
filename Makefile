# make figures   run every notebook, rewrite figures/ and the scoreboard     make help   all targets
# make test      lint, unit tests, and in profile smoke the notebooks that changed; make test-all: every notebook

PROFILE  ?= full
SEED     ?= 0
SEEDS    ?= $(SEED)
NOTEBOOK ?= all
JOBS     ?=
THREADS  ?= 1
RETRAIN  ?=
EXECUTOR ?=
FORMER   ?=
STUDENT  ?=
FOLDER   ?=
PYTHON   ?= python3

# make itself ignores a mistyped variable; this reports it
KNOWN   := PROFILE SEED SEEDS NOTEBOOK JOBS THREADS RETRAIN EXECUTOR PYTHON FORMER STUDENT FOLDER
GIVEN   := $(foreach v,$(.VARIABLES),$(if $(findstring command line,$(origin $v)),$v))
UNKNOWN := $(filter-out $(KNOWN) MAKEFLAGS MAKEOVERRIDES -*,$(GIVEN))
ifneq ($(UNKNOWN),)
  $(error unknown variable $(UNKNOWN); the variables are: $(KNOWN))
endif

BIN    := .venv/bin
READY  := .venv/.ready
CLUSTER := .venv/.cluster
# uv, where it is there, installs the same files; it reads no pip.conf
PIP    := $(if $(shell command -v uv),uv pip install --quiet --compile-bytecode --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
export OMP_NUM_THREADS := $(THREADS)
export NUMBA_NUM_THREADS := $(THREADS)
export PYTHONUTF8 := 1

.PHONY: help figures test test-all test-faults test-browser test-cluster lab site pdf student handin marks bench data env check lint verify release adopt stale clean-notebooks refresh
.DELETE_ON_ERROR:

help:
	@echo "make figures [PROFILE=full|smoke] [NOTEBOOK=05_gan] [RETRAIN=1] [SEED=0 | SEEDS='0 1 2'] [JOBS=cores] [THREADS=1] [EXECUTOR=slurm]"
	@echo "make test      lint, unit tests, and in profile smoke the first notebook and those that changed since the clone"
	@echo "make test-all  the same with every notebook: after a change of lib or workbook"
	@echo "make lab [PROFILE=smoke] [FOLDER=build/student]   JupyterLab on this checkout"
	@echo "make site      the whole book as HTML, which opens from the disk: build/site/html/index.html"
	@echo "make pdf       the book as one PDF: build/book.pdf"
	@echo "make student   the notebooks with stubs in place of the solutions: build/student"
	@echo "make handin STUDENT='Ada Lovelace' [NOTEBOOK=05_gan]   a page of what one has done: build/handin-….html"
	@echo "make marks FOLDER=…   one table of all the pages in a folder: build/marks.csv; runs nothing of theirs"
	@echo "make test-browser   look at every page of the site in headless Chromium; tells what to install"
	@echo "make test-cluster   try a run on SLURM and a search in PostgreSQL, if they are installed"
	@echo "make test-faults   kill runs, fill disks, flip bytes, and give every function of lib bad input (docs/faults.md)"
	@echo "make bench     time the textbook loop and ours side by side"
	@echo "make check     check versions, device, threads and data, and say how to fix each problem"
	@echo "make verify NOTEBOOK=04_vae_latent20   train one notebook's models again and compare with the released ones"
	@echo "make release   collect the models behind the gallery in data/trained"
	@echo "make stale     which released models are out of date, and what changed"
	@echo "make adopt [FORMER=commit or folder] [NOTEBOOK=05_gan]   keep those that changed code would only compute again"
	@echo "make refresh   update the stored outputs that make test compares; make clean-notebooks strips all others"
	@echo "make lint      check the code with ruff and the type checker, and that the notebooks are clean"

figures: data $(if $(EXECUTOR),$(CLUSTER))
	@$(BIN)/python -m workbook.tools.run figures --profile $(PROFILE) --seeds $(SEEDS) --notebook $(NOTEBOOK) \
		$(if $(JOBS),--jobs $(JOBS)) --threads $(THREADS) $(if $(filter-out 0,$(RETRAIN)),--retrain) \
		$(if $(EXECUTOR),--executor $(EXECUTOR))

SMOKE = $(BIN)/python -m pytest -p tests.smoke --nbval --nbval-cell-timeout=300 -n 2 --durations=15 -q -m "not browser and not cluster" --ignore=tests/faults

LEFT_OUT = echo "left out, so that this ends in minutes: make test-browser, make test-faults, make test-cluster"

test: data lint
	@$(SMOKE) --changed tests notebooks
	@$(LEFT_OUT)

test-all: data lint
	@$(SMOKE) tests notebooks
	@$(LEFT_OUT)

test-faults: data
	@$(BIN)/python -m pytest -q -m faults -n 2 --dist loadscope --durations=10 tests/faults

pdf: site
	@$(BIN)/python -m workbook.tools.browser
	@$(BIN)/python -m workbook.tools.pdf

student: env
	@$(BIN)/python -m workbook.tools.student

# make hands variables of its command line on to the shell: in quotes there, a name may have any letters
handin: env
	@$(BIN)/python -m workbook.tools.handin --student "$$STUDENT" --notebook $(NOTEBOOK)

marks: env
	@$(BIN)/python -m workbook.tools.handin --marks "$$FOLDER"

test-browser: site
	@$(BIN)/python -m workbook.tools.browser
	@$(BIN)/python -m pytest -q -m browser -n 2 --dist load tests/browser

test-cluster: data $(CLUSTER)
	@$(BIN)/python -m pytest -q -m cluster tests/cluster

# the only user of a container is often root, and Jupyter refuses root without this option
lab: data
	@WORKBOOK_PROFILE=$(PROFILE) $(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) "$(or $(FOLDER),notebooks)"

site: data
	@$(BIN)/python -m workbook.tools.site

bench: data
	@$(BIN)/python -m benchmarks.run
	@$(BIN)/python -m benchmarks.threads

check: env
	@$(BIN)/python -m workbook.tools.check
	@$(BIN)/python -m workbook.tools.release --check

verify: data
	@$(BIN)/python -m workbook.tools.verify $(NOTEBOOK)

release: env
	@$(BIN)/python -m workbook.tools.release

stale: env
	@$(BIN)/python -m workbook.tools.stale

adopt: data
	@$(BIN)/python -m workbook.tools.adopt --notebook $(NOTEBOOK) $(if $(FORMER),--former $(FORMER)) \
		$(if $(JOBS),--jobs $(JOBS))

lint: env
	@$(BIN)/ruff check -q . && $(BIN)/ruff format -q --check . && $(BIN)/pyrefly check --summary=none && $(BIN)/python -m workbook.tools.clean verify

clean-notebooks: env
	@$(BIN)/python -m workbook.tools.clean clean

refresh: data
	@$(BIN)/python -m workbook.tools.clean refresh $(if $(filter-out all,$(NOTEBOOK)),notebooks/$(NOTEBOOK).ipynb)

data: env
	@$(BIN)/python -m workbook.tools.fetch

env: $(READY)

# .ready is written last. If it is missing, an installation was interrupted, and pip takes half-installed packages for
# complete ones: start over. If it is older than the lock file, pip updates what has changed.
$(READY): requirements.lock requirements.hashes pyproject.toml
	@$(PYTHON) workbook/tools/supported.py
	@test -f $(READY) || $(PYTHON) -m venv --clear .venv
	@rm -f $(READY)
	@echo "installing the environment into .venv (one to three minutes, 2.3 GB)"
	@$(PIP) --no-deps --require-hashes -r requirements.hashes
	@$(PIP) -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check
	@touch $(READY)

$(CLUSTER): profiles/requirements.txt $(READY)
	@$(PIP) -c requirements.lock -r $<
	@touch $@
