# make figures   every notebook headless, figures/ and the scoreboard        make help   all targets
# make test      unit tests and every notebook compared with its stored outputs

PROFILE  ?= standard
SEED     ?= 0
SEEDS    ?= $(SEED)
NOTEBOOK ?= all
JOBS     ?= 1
THREADS  ?= 2
PYTHON   ?= python3

# make ignores a mistyped variable; we do not
KNOWN   := PROFILE SEED SEEDS NOTEBOOK JOBS THREADS PYTHON
GIVEN   := $(foreach v,$(.VARIABLES),$(if $(findstring command line,$(origin $v)),$v))
UNKNOWN := $(filter-out $(KNOWN) MAKEFLAGS MAKEOVERRIDES -*,$(GIVEN))
ifneq ($(UNKNOWN),)
  $(error unknown variable $(UNKNOWN); there are: $(KNOWN))
endif

BIN    := .venv/bin
READY  := .venv/.ready

.PHONY: help figures test lab bench data env check lint clean-notebooks refresh
.DELETE_ON_ERROR:

help:
	@echo "make figures [PROFILE=smoke|standard|report] [SEED=0 | SEEDS='0 1 2'] [NOTEBOOK=01_feedforward] [JOBS=1] [THREADS=2]"
	@echo "make test      unit tests, and every notebook in profile smoke"
	@echo "make lab       JupyterLab on this checkout"
	@echo "make bench     side-by-side timings: the textbook loop against ours"
	@echo "make check     versions, device, threads, data, and how to mend what is wrong"
	@echo "make refresh   store the checked outputs of all notebooks again; make clean-notebooks strips the rest"
	@echo "make lint      ruff, and that notebooks are committed clean"

figures: data
	@$(BIN)/python -m lib.runner figures --profile $(PROFILE) --seeds $(SEEDS) --notebook $(NOTEBOOK) --jobs $(JOBS) --threads $(THREADS)

test: data lint
	@$(BIN)/python -m pytest tests
	@$(BIN)/python -m pytest -p tests.smoke --nbval --nbval-cell-timeout=300 notebooks

# a container's only user is often root, which Jupyter refuses without being told
lab: data
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

bench: data
	@$(BIN)/python -m benchmarks.run

check: env
	@$(BIN)/python -m lib.check

lint: env
	@$(BIN)/ruff check -q . && $(BIN)/ruff format -q --check . && $(BIN)/python -m lib.notebooks verify

clean-notebooks: env
	@$(BIN)/python -m lib.notebooks clean

refresh: data
	@$(BIN)/python -m lib.notebooks refresh

data: env
	@$(BIN)/python -m lib.data

env: $(READY)

# .ready is written last. Without it an install was interrupted, and half-installed packages look whole to pip:
# start over. With it, but older than the lock, pip changes what has changed.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	@test -f $(READY) || $(PYTHON) -m venv --clear .venv
	@rm -f $(READY)
	@echo "installing the environment into .venv (one to three minutes, 2.3 GB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check
	@touch $(READY)
