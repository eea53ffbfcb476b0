# make serve   set up and run the service          make test    set up and run the tests
# make samples fetch a few photographs to try      make check   format, lint, types, import arrows, tests
# make bench   time it beside its peers          make faults   kill it at 200 random moments and look what is left
# make drills  attack it: theft, fuzzing, overload, erasure, other tenants
# make audit   look for known vulnerabilities of what it depends on, where advisories can be reached

PYTHON ?= python3
# cpu: PyTorch without CUDA's gigabytes. Any backend of `uv pip install --torch-backend` will do.
TORCH ?= cpu
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers

.PHONY: serve samples test test-slow check lint bench faults drills audit constraints clean
.DELETE_ON_ERROR:

# In development mode: without API keys, and for programs on this machine alone.
serve: $(VENV)/.installed-serve
	$(BIN)/facesvc serve --dev

samples: $(VENV)/.installed-serve
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

test: $(VENV)/.installed-test
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow"

test-slow: $(VENV)/.installed-test
	$(BIN)/pytest -n 2 --dist loadgroup -m slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

check: lint test test-slow

bench: $(VENV)/.installed-test $(PEERS)/.installed
	$(BIN)/facesvc samples --folder samples
	$(BIN)/python -m benchmarks.compare_two samples/people/obama/obama.jpg samples/people/obama/obama2.jpg --pack sface --peers $(PEERS)/bin/python

faults: $(VENV)/.installed-test
	$(BIN)/python -m drills.faults.rounds --rounds 200 --database both

drills: $(VENV)/.installed-test
	$(BIN)/python -m drills

audit: $(VENV)/.installed-test
	$(BIN)/python -m drills audit

# face_recognition's model package needs pkg_resources, which setuptools dropped with 81; dlib-bin needs no compiler
$(PEERS)/.installed: $(VENV)/.uv
	$(PYTHON) -m venv $(PEERS)
	$(BIN)/uv pip install -q --python $(PEERS)/bin/python 'setuptools<81' dlib-bin face-recognition-models==0.3.0 numpy pillow click
	$(BIN)/uv pip install -q --python $(PEERS)/bin/python --no-deps face-recognition==1.3.0
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) build *.egg-info

# After changing a version in pyproject.toml: what this environment has, without builds' local labels.
constraints:
	@{ echo "# Versions that were tested together; made by: make constraints"; \
	$(BIN)/uv pip freeze --python $(BIN)/python | grep -vE '^(-e|(facesvc|uv|pip|setuptools)(==| )|nvidia|triton)' | sed 's/+[a-z0-9]*$$//'; } > $@.tmp
	@mv $@.tmp constraints.txt
