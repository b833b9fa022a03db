# make figures   every notebook headless, figures/ and the scoreboard        make help   all targets
# make test      lint, unit tests, every notebook in profile smoke

PROFILE  ?= full
SEED     ?= 0
SEEDS    ?= $(SEED)
NOTEBOOK ?= all
JOBS     ?=
THREADS  ?= 1
RETRAIN  ?=
PYTHON   ?= python3

# make ignores a mistyped variable; we do not
KNOWN   := PROFILE SEED SEEDS NOTEBOOK JOBS THREADS RETRAIN PYTHON
GIVEN   := $(foreach v,$(.VARIABLES),$(if $(findstring command line,$(origin $v)),$v))
UNKNOWN := $(filter-out $(KNOWN) MAKEFLAGS MAKEOVERRIDES -*,$(GIVEN))
ifneq ($(UNKNOWN),)
  $(error unknown variable $(UNKNOWN); there are: $(KNOWN))
endif

BIN    := .venv/bin
READY  := .venv/.ready
export OMP_NUM_THREADS := $(THREADS)

.PHONY: help figures test lab bench data env check lint verify release clean-notebooks refresh
.DELETE_ON_ERROR:

help:
	@echo "make figures [PROFILE=full|smoke] [NOTEBOOK=05_gan] [RETRAIN=1] [SEED=0 | SEEDS='0 1 2'] [JOBS=cores] [THREADS=1]"
	@echo "make test      lint, unit tests, and every notebook in profile smoke"
	@echo "make lab       JupyterLab on this checkout"
	@echo "make bench     side-by-side timings: the textbook loop against ours"
	@echo "make check     versions, device, threads, data, and how to put right what is wrong"
	@echo "make verify NOTEBOOK=04_vae_latent20   train one notebook's models again and compare with the released ones"
	@echo "make release   collect the trainings that the gallery used into data/trained"
	@echo "make refresh   store the checked outputs of all notebooks again; make clean-notebooks strips the rest"
	@echo "make lint      ruff, and that notebooks are committed clean"

figures: data
	@$(BIN)/python -m workbook.tools.run figures --profile $(PROFILE) --seeds $(SEEDS) --notebook $(NOTEBOOK) \
		$(if $(JOBS),--jobs $(JOBS)) --threads $(THREADS) $(if $(filter-out 0,$(RETRAIN)),--retrain)

test: data lint
	@$(BIN)/python -m pytest -p tests.smoke --nbval --nbval-cell-timeout=300 -n 2 --durations=15 -q tests notebooks

# a container's only user is often root, which Jupyter refuses without being told
lab: data
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

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

lint: env
	@$(BIN)/ruff check -q . && $(BIN)/ruff format -q --check . && $(BIN)/python -m workbook.tools.clean verify

clean-notebooks: env
	@$(BIN)/python -m workbook.tools.clean clean

refresh: data
	@$(BIN)/python -m workbook.tools.clean refresh

data: env
	@$(BIN)/python -m workbook.tools.fetch

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
