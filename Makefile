# make demo    train three models, serve them from a notebook's kernel, show the answers
# make lab     the same notebook in JupyterLab
# make front   the console's page from labextension/ (needs npm; the result is committed)
# make pictures   the README's pictures, in a real browser
# make test    every test            make lint    ruff and mypy            make bench    speed and memory
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo lab front pictures test lint bench clean

demo: $(VENV)/.examples
	$(BIN)/python examples/demo.py

lab: $(VENV)/.examples
	$(BIN)/jupyter lab examples/quickstart.ipynb

front: $(VENV)/.test labextension/node_modules
	$(BIN)/python labextension/make_types.py
	cd labextension && npm run --silent build

pictures: $(VENV)/.test
	$(BIN)/python docs/pictures.py

labextension/node_modules: labextension/package-lock.json
	cd labextension && npm ci --no-audit --no-fund
	touch $@

test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python -m tests.benchmarks

$(VENV)/.test: $(VENV)/.examples
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.examples: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[examples]'
	touch $@

clean:
	rm -rf $(VENV) build dist examples/models
