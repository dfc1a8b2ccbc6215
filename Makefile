# Thin names over pip, dvc, pytest and ruff.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
# The digits have 1,400 train images: budgets of a tenth to a half of them, as of CIFAR-10's 50,000.
# dvc.yaml names nine, and one that stands there twice is trained once.
DEMO := -S profile=demo -S budget=560 -S 'budgets=[140,280,420,560,700,700,700,700,700]' -S 'seeds=[0,1]'
# DVC writes an experiment as a git commit, and needs a name for its author.
export GIT_AUTHOR_NAME ?= zeroshot-al
export GIT_AUTHOR_EMAIL ?= zeroshot-al@localhost
export GIT_COMMITTER_NAME ?= $(GIT_AUTHOR_NAME)
export GIT_COMMITTER_EMAIL ?= $(GIT_AUTHOR_EMAIL)
# In a temporary workspace an experiment finds its raw data here all the same.
export ZEROSHOT_AL_DATA ?= $(CURDIR)/data/raw

# A file's tests stay in one process, with what they set up.
TWO_WORKERS := -n 2 --dist loadfile

# What is given for these is text: without this, make would run a $(shell ...) in it.
override ROOT := $(value ROOT)
override LABELS := $(value LABELS)
override BUDGET := $(value BUDGET)
override ENCODER := $(value ENCODER)

define newline


endef
# A path for -S, given in the variable $(2): quoted for Hydra, and for the shell.
path = '$(1)="$(subst ','\'',$(subst ",\",$(call checked,$(2))))"'
checked = $(or $($(1)),$(error $(1) is not given; see the README))$(if $(or $(findstring \
    $(newline),$($(1))),$(findstring \$(empty),$($(1))),$(findstring $${,$($(1)))),$(error \
    $(1) holds a line break, a backslash or $${, which DVC's -S cannot carry; rename the path))
number = $(if $(or $(findstring $(newline),$(1)),$(shell printf %s '$(subst ','\'',$(1))' \
    | tr -d 0-9)),,$(1))

.PHONY: demo annotate train predict test test-slow lint repro share bench torture verify clean

demo: .venv/installed  ## the whole pipeline on scikit-learn's digits, minutes, no network
	@dvc exp remove --quiet demo 2>/dev/null || true
	dvc exp run --temp --name demo $(DEMO)
	python scripts/show_results.py --experiment demo

# Forced, because DVC does not watch what lies outside of the project.
FORCED := dvc exp run --force --single-item

annotate: .venv/installed  ## which BUDGET of the images in ROOT to label next
	$(FORCED) -S profile=folder \
	    -S budget=$(or $(call number,$(BUDGET)),$(error BUDGET must be a number, such as 500)) \
	    -S $(call path,profiles.folder.data.root,ROOT) \
	    $(if $(LABELS),-S $(call path,profiles.folder.labels.file,LABELS)) \
	    $(if $(ENCODER),-S $(call path,profiles.folder.encoder.weights,ENCODER)) $(SET) \
	    download labels
	python scripts/close_batch.py
	dvc exp run annotate
	@echo "To label, in a browser: $$(echo data/annotate/label*.html); to look at: data/annotate/gallery.html"

train: .venv/installed  ## a model on the labels that came back, in the file LABELS
	$(FORCED) -S $(call path,profiles.folder.labels.file,LABELS) $(SET) labels
	python scripts/close_batch.py
	dvc exp run predict
	@echo "To look at: data/predictions/predictions.html; all guesses: data/predictions/predictions.csv"

predict: .venv/installed  ## guesses for the images of another folder, ROOT, by the model of make train
	python scripts/predict_folder.py '$(subst ','\'',$(or $(ROOT),$(error ROOT is not given)))'

test: .venv/installed-dev lint  ## all tests, on 2 cores in minutes
	pytest -m "not slow and not torture" $(TWO_WORKERS)

test-slow: .venv/installed-dev  ## the others: remotes, the paper's profile; a quarter of an hour
	pytest -m slow $(TWO_WORKERS)

lint: .venv/installed-dev
	ruff check .
	ruff format --check .

repro: .venv/installed  ## the active profile of params.yaml: only what is stale
	dvc repro

share: .venv/installed  ## what ran here, to the DVC remote: elsewhere `dvc repro --pull` takes it
	python scripts/push_runs.py

bench: .venv/installed .venv-peers/installed  ## side-by-side timings, into docs/benchmarks
	python benchmarks/kcenter.py speed --peers-python .venv-peers/bin/python
	python benchmarks/kcenter.py growth
	python benchmarks/kcenter.py verify $(addprefix --embeddings ,$(wildcard data/embeddings/simclr.npy))
	pip install --quiet --disable-pip-version-check lightly==1.6.0  # whose loop is timed beside ours
	python benchmarks/coverage.py peers --peers-python .venv-peers/bin/python
	python benchmarks/coverage.py sizes
	python benchmarks/engine.py
	python benchmarks/ingest.py photos

# An object's name is its md5: of two digits a directory, of the rest a file.
verify: .venv/installed  ## whether DVC's cache is whole: names the damaged files, to be removed
	cd "$$(dvc cache dir)/files/md5" && find * -type f \
	    | sed -nE 's,^(..)/([0-9a-f]{30})(\.dir)?$$,\1\2  &,p' | md5sum --check --quiet

torture: .venv/installed-dev  ## kills, full disks, damaged files (docs/RELIABILITY.md); half an hour
	pytest -m torture

clean:  ## what can be made again, but for data, models and DVC's cache
	rm -rf .venv .venv-peers .checkpoints .pytest_cache .ruff_cache .hypothesis demo_results dvc_plots

.venv-peers/installed: benchmarks/requirements.txt  # they pin other versions of our libraries
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	touch $@

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
