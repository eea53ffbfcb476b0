# `make help` lists what can be made; each target's line below says what it does.

PYTHON ?= python3
# cpu: PyTorch without CUDA's gigabytes. Any backend of `uv pip install --torch-backend` will do.
TORCH ?= cpu
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers

.PHONY: help serve samples test coverage test-slow check format lint bench faults drills audit constraints clean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | column -t -s '|'

# In development mode: without API keys, and for programs on this machine alone.
serve: $(VENV)/.installed-serve ## set up and run the service
	$(BIN)/facesvc serve --dev

samples: $(VENV)/.installed-serve ## fetch a few photographs to try
	$(BIN)/facesvc samples

# Where PyTorch's own index can't be reached the second line takes PyTorch from the package registry.
# uv reads no pip configuration, so the folders pip was told to look into are passed on.
define install
find_links="$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-$$($(BIN)/python -m pip config get global.find-links 2>/dev/null)}}"; \
export UV_FIND_LINKS="$$find_links"; set -- -q --python $(BIN)/python -c constraints.txt -e '.[$(1)]'; \
$(BIN)/uv pip install --torch-backend $(TORCH) "$$@" 2>/dev/null || $(BIN)/uv pip install "$$@"
endef

$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "facesvc needs Python 3.11 or newer: make PYTHON=python3.x ...")'
	@echo "setting up $(VENV) (the first time takes a minute or two)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==0.13.8
	@touch $@

$(VENV)/.installed-serve: $(VENV)/.uv pyproject.toml constraints.txt
	@$(call install,openvino)
	@touch $@

$(VENV)/.installed-test: $(VENV)/.uv pyproject.toml constraints.txt
	@$(call install,test)
	@touch $@ $(VENV)/.installed-serve

test: $(VENV)/.installed-test ## set up and run the fast tests
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow"

coverage: $(VENV)/.installed-test ## run the fast tests and list the lines and branches that none reaches
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow" --cov --cov-report=term --cov-report=html

test-slow: $(VENV)/.installed-test ## run the tests that take over ten seconds
	$(BIN)/pytest -n 2 --dist loadgroup -m slow

format: $(VENV)/.installed-test ## format the code and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.installed-test ## check format, rules, types and import arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

check: lint test test-slow ## lint and run all tests

bench: $(VENV)/.installed-test $(PEERS)/.installed ## time two photographs, beside other libraries
	$(BIN)/facesvc samples --folder samples
	$(BIN)/python -m benchmarks.compare_two samples/people/obama/obama.jpg samples/people/obama/obama2.jpg --pack sface --peers $(PEERS)/bin/python

faults: $(VENV)/.installed-test ## kill the service at 200 random moments and look what is left
	$(BIN)/python -m drills.faults.rounds --rounds 200 --database both

drills: $(VENV)/.installed-test ## attack it: theft, fuzzing, overload, erasure, other tenants
	$(BIN)/python -m drills

audit: $(VENV)/.installed-test ## look for known vulnerabilities of dependencies, where advisories can be reached
	$(BIN)/python -m drills audit

# face_recognition's model package needs pkg_resources, which setuptools dropped with 81; dlib-bin needs no compiler
$(PEERS)/.installed: $(VENV)/.uv
	$(PYTHON) -m venv $(PEERS)
	$(BIN)/uv pip install -q --python $(PEERS)/bin/python 'setuptools<81' dlib-bin face-recognition-models==0.3.0 numpy pillow click
	$(BIN)/uv pip install -q --python $(PEERS)/bin/python --no-deps face-recognition==1.3.0
	@touch $@

clean: ## remove the virtual environments and builds
	rm -rf $(VENV) $(PEERS) build *.egg-info

# After changing a version in pyproject.toml: what this environment has, without builds' local labels.
constraints: ## write the versions of this environment to constraints.txt
	@{ echo "# Versions that were tested together; made by: make constraints"; \
	$(BIN)/uv pip freeze --python $(BIN)/python | grep -vE '^(-e|(facesvc|uv|pip|setuptools)(==| )|nvidia|triton)' | sed 's/+[a-z0-9]*$$//'; } > $@.tmp
	@mv $@.tmp constraints.txt
