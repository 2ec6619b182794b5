# make train                      LeNet-style network on the embedded digits; results in runs/digits,
#                                 those of a second run in runs/digits-2
# make train DATA=fashion-mnist EPOCHS=5
# make questions                  five questions about the gradient, answered; pages in runs/questions
# make bench                      speed and memory beside PyTorch's, ten minutes; results in runs/bench
# make bench PART=lenet           the cases whose name contains "lenet"
# make docs                       the site, in site/: open site/index.html
# make test                       the tests; make test-slow: those that take long
# make clean                      removes the environment and the results
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= digits
EPOCHS ?=
SEED ?= 0
PART ?=

.PHONY: help train questions docs test test-slow bench clean

help:
	@sed -n 's/^# //p' $(MAKEFILE_LIST)

train: $(VENV)/train
	$(BIN)/python -m demos.train --data $(DATA) --seed $(SEED) $(if $(EPOCHS),--epochs $(EPOCHS))

questions: $(VENV)/train
	$(BIN)/python -m demos.questions --out runs/questions

docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

test: $(VENV)/test
	$(BIN)/python -m pytest -q

test-slow: $(VENV)/test
	$(BIN)/python -m pytest -q -m slow

bench: $(VENV)/bench
	$(BIN)/python -m tests.bench '$(PART)'

$(VENV)/train: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[viz,fast]' || $(BIN)/pip install --quiet --editable '.[viz]'
	touch $@

$(VENV)/docs: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[docs]'
	touch $@

$(VENV)/test: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/bench: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) runs dist site
