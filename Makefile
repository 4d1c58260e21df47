# Every target sets up what it needs in .venv, once; `make help` lists the targets.
#
#   make demo PYTHON=python3.12                                                another Python
#   make demo PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu         the small torch, on Linux without a GPU

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
OPENPI := .venv-openpi
CODE := src tests examples benchmarks plugins docs/_site
TASKS := adroit-door adroit-pen push-t metaworld/peg-insert-side metaworld/pick-place
METHODS := sync,naive,ensembling,rtc,rtc-identity,training-time-rtc,naive:predictor=learned,ensembling:predictor=learned,rtc:predictor=learned,rtc-identity:predictor=learned,legato:predictor=learned,naive:predictor=learned:noise=carried:share=0.5:scale=0.7,legato:predictor=learned:noise=carried:share=0.5:scale=0.7,predictive-legato,predictive,naive:noise=carried:share=0.5,naive:scale=0.7,legato,literal-legato,training-time-rtc:predictor=learned,predictive:ramp_seconds=2.4,predictive:ramp_seconds=2.4:scale=0.5
CORRECTED := a2c2,rtc:correction=learned,a2c2:predictor=learned,predictive:correction=learned
FIELD := segue.integrations.lipo:LiPo,soft-rtc,literal-soft-rtc,faster,future-rtc,remac,remac:source=previous,bid,official-bid,paint,bid:predictor=learned,paint:predictor=learned,$(CORRECTED)
# On equal hardware: what an inference takes over a naive one, of results/costs.json.
HARDWARE := naive,soft-rtc,rtc,bid,paint,naive:predictor=learned,naive:predictor=learned:noise=carried:share=0.5:scale=0.7,predictive
SLOWER := rtc=2.3,bid=2.1,paint=2.8,naive:predictor=learned=1.4,naive:predictor=learned:noise=carried:share=0.5:scale=0.7=1.4,predictive=2.6
JITTER_TASKS := push-t adroit-door metaworld/peg-insert-side metaworld/pick-place
JITTER_METHODS := naive,rtc,naive:predictor=learned,predictive,predictive-legato
SEAM_TASK := adroit-door
SEAM_METHODS := naive,rtc,legato,rtr,latent-naive,latent-rtc,latent-rtc-identity,latent-rtr,latent-legato,naive:predictor=learned,latent-naive:predictor=learned,latent-rtr:predictor=learned,latent-rtc-identity:predictor=learned

# A second thread per process does not help networks of this size, and processes are run side by side.
export OMP_NUM_THREADS = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Tests start hundreds of processes: each would compile anew what is compiled once.
unexport PYTHONDONTWRITEBYTECODE

# LeRobot needs Python 3.12 and a torch of its own, and so an environment of its own (about 6 GB).
LEROBOT_BIN := .venv-lerobot/bin
LEROBOT_READY := .venv-lerobot/ready
LEROBOT := lerobot[dataset,training,evaluation,smolvla,pi,diffusion]==0.6.1
LEROBOT_PYTHON ?= $(firstword $(shell for python in python3.12 $$HOME/.pyenv/versions/3.12.*/bin/python; do \
  $$python -c 'import sys, venv; sys.exit(sys.version_info[:2] != (3, 12))' 2> /dev/null && echo $$python; done))

# Ray is in none of the other environments.
RAY_BIN := .venv-ray/bin
RAY_READY := .venv-ray/ready

.PHONY: help setup demo test test-pages test-faults test-lerobot test-ray test-openpi test-install mutants lint bench results equal-hardware seams rates tables docs clean
.DELETE_ON_ERROR:

help:
	@echo "make demo         train on human door demonstrations, compare methods under delay, write a report"
	@echo "make test         run the tests"
	@echo "make test-pages   run every page, example and notebook of the documentation from top to bottom"
	@echo "make test-faults  run the long tests: injected faults, many processes, every method"
	@echo "make test-lerobot run the tests under LeRobot, in an environment of their own (Python 3.12, about 6 GB)"
	@echo "make test-ray     roll out cells on a Ray cluster of two nodes, in an environment of its own (about 2 GB)"
	@echo "make test-openpi  ask the server with openpi's own client, and theirs from a checkout, in an environment of its own"
	@echo "make test-install build the wheel, install it three times into empty environments, and use it"
	@echo "make mutants      put small faults into core, strategies, plan and safety, and count those that are found"
	@echo "make lint         ruff, formatting, types"
	@echo "make bench        time the methods against each other, and a control step part by part"
	@echo "make results      train and evaluate everything in the README's tables (hours), then write the tables"
	@echo "make seams        train and compare chunks of actions with latent ones at the seams (an hour)"
	@echo "make rates        train and compare policies of a high with those of a low action rate (hours)"
	@echo "make equal-hardware  compare methods with the delay that each has on the same computer; after make results"
	@echo "make tables       write the tables of the README and of docs/, and the pictures of the trade, from results/"
	@echo "make docs         build the documentation into build/site, strictly: read build/site/index.html"
	@echo "make clean        remove .venv and caches; runs/ and results/ stay"

setup: $(READY)

demo: $(READY)
	@$(BIN)/segue demo

# Three processes for two cores: some tests wait for others' processes.
test: $(READY)
	@$(BIN)/python -m pytest -n 3 --dist worksteal

test-pages: $(READY)
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m pages tests/project

test-faults: $(READY)
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m faults $$(grep -l faults -r tests --include="test_*.py")

ifeq ($(LEROBOT_PYTHON),)
test-lerobot:
	@echo "skipped: no Python 3.12 on this machine, which LeRobot needs"
	@echo "  not run: tests/with_lerobot (lerobot-train, lerobot-rollout, lerobot-eval, its engine, its data sets, its policies)"
	@echo "  change:  install Python 3.12, or name it: make test-lerobot LEROBOT_PYTHON=/path/to/python3.12"
else
test-lerobot: $(LEROBOT_READY)
	@$(LEROBOT_BIN)/python -m pytest tests/with_lerobot
endif

test-ray: $(RAY_READY)
	@$(RAY_BIN)/python -m pytest tests/with_ray

# Its server is on no package index; with a checkout: make test-openpi SEGUE_OPENPI_SOURCE=/somewhere/openpi
test-openpi: $(READY) $(OPENPI)/ready
	@SEGUE_OPENPI_PYTHON=$(OPENPI)/bin/python $(BIN)/python -m pytest tests/links/test_server_openpi.py

test-install: $(READY)
	@$(BIN)/python tests/project/installations.py

mutants: $(READY)
	@$(BIN)/python benchmarks/mutants.py

lint: $(READY)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/pyright

bench: $(READY)
	@$(BIN)/python benchmarks/ratios.py
	@$(BIN)/python benchmarks/runtime.py
	@$(BIN)/python benchmarks/wire.py
	@$(BIN)/python benchmarks/flood.py
	@$$(test -x $(LEROBOT_BIN)/python && echo $(LEROBOT_BIN) || echo $(BIN))/python benchmarks/lerobot_rtc.py

results: $(READY)
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[lipo]'
	@set -e; for task in $(TASKS); do echo "segue bench $$task"; $(BIN)/segue bench $$task --methods $(METHODS) \
	  $$(test $$task = adroit-pen && echo --delays 2,4,8); done
	@set -e; for task in $(TASKS); do \
	  $(BIN)/segue bench $$task --methods $(FIELD)$$(test $$task = push-t && echo ,vlash) --delays $$(test $$task = adroit-pen && echo 2,)4,8 --out build/field/$$task; \
	  $(BIN)/segue merge results/$$task build/field/$$task --out results/$$task; done
	@set -e; for task in $(JITTER_TASKS); do for kind in jitter heavy-tail; do \
	  $(BIN)/segue bench $$task --methods $(JITTER_METHODS) --delays 8 --delay-model $$kind; done; done
	@$(BIN)/python benchmarks/costs.py
	@$(BIN)/python benchmarks/slim.py
	@$(MAKE) tables

equal-hardware: $(READY)
	@set -e; for task in $(TASKS); do runs=runs/$$task; \
	  $(BIN)/segue eval $$task $$runs/seed-0 $$runs/seed-1 $$runs/seed-2 --methods $(HARDWARE) --delays 4 --slower $(SLOWER) \
	    --out results/equal-hardware/$$task; $(BIN)/python benchmarks/slim.py results/equal-hardware/$$task; done
	@$(BIN)/python benchmarks/tables.py

seams: $(READY)
	@$(BIN)/segue bench $(SEAM_TASK) --methods $(SEAM_METHODS) --delays 8 --out results/seams/$(SEAM_TASK)
	@$(BIN)/python benchmarks/tables.py

rates: $(READY)
	@$(BIN)/segue rates adroit-door --training-seeds 3 --episodes 100
	@$(BIN)/segue rates metaworld/pick-place --training-seeds 3 --episodes 100
	@$(BIN)/segue rates wipe --training-seeds 3 --episodes 20
	@$(BIN)/python benchmarks/tables.py

tables: $(READY)
	@$(BIN)/python benchmarks/tables.py
	@$(BIN)/python benchmarks/choice.py
	@$(BIN)/python benchmarks/frontier.py

docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html, or with its search: python3 -m http.server --directory build/site"

clean:
	rm -rf .venv .venv-lerobot .venv-ray $(OPENPI) .pytest_cache .ruff_cache .hypothesis build dist
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) > /dev/null || { \
	  echo "error: no '$(PYTHON)' on this machine"; \
	  echo "  change: install Python 3.10 or newer, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "error: $$($(PYTHON) --version) is too old"; \
	  echo "  change: install Python 3.10 or newer, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	  rm -rf .venv; echo "error: $(PYTHON) cannot make a virtual environment"; \
	  echo "  change: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	@echo "Installing Segue and what it needs into .venv (once, a few minutes) ..."
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[all,docs,dev]' > .venv/install.log 2>&1 || { \
	  grep -v -e '^WARNING' -e '^Looking in' .venv/install.log | tail -n 15; \
	  echo "error: the packages could not be installed; the whole log is .venv/install.log"; \
	  echo "  change: check network and disk (about 3 GB), then repeat; 'make clean' starts anew"; exit 1; }
	@touch $@

$(LEROBOT_READY): pyproject.toml plugins/lerobot_policy_segue/pyproject.toml
	@test -x $(LEROBOT_BIN)/python || $(LEROBOT_PYTHON) -m venv .venv-lerobot
	@echo "Installing LeRobot, Segue and its plugin into .venv-lerobot (once, a few minutes) ..."
	@$(LEROBOT_BIN)/python -m pip install --quiet '$(LEROBOT)' -e '.[learn,lerobot,report]' -e plugins/lerobot_policy_segue \
	  'pytest>=8.3' 'hypothesis>=6.120' > .venv-lerobot/install.log 2>&1 || { \
	  grep -v -e '^WARNING' -e '^Looking in' .venv-lerobot/install.log | tail -n 15; \
	  echo "error: the packages could not be installed; the whole log is .venv-lerobot/install.log"; \
	  echo "  change: check network and disk (about 6 GB), then repeat"; exit 1; }
	@touch $@

$(RAY_READY): pyproject.toml constraints.txt
	@test -x $(RAY_BIN)/python || $(PYTHON) -m venv .venv-ray
	@echo "Installing Segue and Ray into .venv-ray (once, a few minutes) ..."
	@$(RAY_BIN)/python -m pip install --quiet -c constraints.txt -e '.[lab,ray]' 'pytest>=8.3' 'hypothesis>=6.120' \
	  > .venv-ray/install.log 2>&1 || { \
	  grep -v -e '^WARNING' -e '^Looking in' .venv-ray/install.log | tail -n 5; \
	  echo "error: Ray cannot be had for $$($(PYTHON) --version)"; \
	  echo "  not run: tests/with_ray (cells on a cluster, what is lost on the way, Ctrl-C)"; \
	  echo "  change:  check the network, or name another: make test-ray PYTHON=python3.12"; exit 1; }
	@touch $@

# openpi's client needs NumPy 1, so that it cannot stand beside Segue; typing_extensions it imports without saying so.
$(OPENPI)/ready:
	@rm -rf $(OPENPI) && $(PYTHON) -m venv $(OPENPI)
	@$(OPENPI)/bin/python -m pip install --quiet openpi-client 'numpy<2' typing_extensions > $(OPENPI)/install.log 2>&1 || { \
	  tail -n 5 $(OPENPI)/install.log; \
	  echo "error: openpi-client cannot be had for this Python"; \
	  echo "  change: check the network, or name another: make test-openpi PYTHON=python3.11"; exit 1; }
	@touch $@
