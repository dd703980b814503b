# make run    set up, draw the example sheet, and say where everything is
# make test   set up, and run every test
# make check  style, types, import contracts, the tests on the built wheel
# make ci     everything CI does: check, and the engines and places that need an environment of their own
# make bench  print what things cost, each beside a floor or a peer
# make mutants  see how many small changes of the code the tests find, in a quarter of an hour
# make test-comfyui  set up ComfyUI itself in a place of its own, and test its engine on it
# make test-training  set up torch in a place of its own, and test the training code
# make test-diffusers  set up torch and diffusers in a place of their own, and test that engine
# make test-ray set up Ray in a place of its own, and test runs on a cluster of several nodes
# make test-s3  set up an S3-speaking server in a place of its own, and share an archive on it
# make test-sdcpp  build stable-diffusion.cpp's server and test the web UI engine on it (MODEL=…)
# make clean  remove what make made, never pictures or records

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WHEEL_VENV := build/wheel-venv
READY  := $(VENV)/.ready
ARGS   ?=
# As many tests at once as there are processors; make test TOGETHER= runs one after the other.
TOGETHER ?= -n auto --dist worksteal

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: run chromium test check ci lint scripts types contracts wheel-test bench mutants test-training \
	test-diffusers test-comfyui test-ray test-s3 test-sdcpp clean

run: $(READY)
	$(BIN)/safelight demo
	@echo "(the command is $(BIN)/safelight)"

# The light table's tests drive a real browser; without one they are skipped, and say so.
chromium:
	@which chromium chromium-browser google-chrome 2>/dev/null | grep -q . \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
	     && echo "installing Chromium, for the tests of the page" \
	     && apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } \
	|| echo "No Chromium here and no right to install it: the page will not be driven in a browser." \
	        "Install it with: sudo apt-get install chromium" >&2

test: $(READY) chromium
	$(BIN)/python -m pytest $(TOGETHER) $(ARGS)

check: lint types contracts wheel-test

ci:
	for part in check test-diffusers test-comfyui test-ray test-s3; do \
	    began=$$(date +%s); $(MAKE) $$part ARGS="--hypothesis-profile=same-examples $(ARGS)" || exit 1; \
	    echo "== $$part: $$(( ($$(date +%s) - began + 59) / 60 )) min"; done

lint: $(READY) scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The page's scripts: form and lint, by Biome, which npm brings; without npm they are passed over.
scripts:
	@if command -v npm >/dev/null; then \
	    npm install --silent --no-fund --no-audit --prefix build/scripts @biomejs/biome@2.6.8 \
	    && build/scripts/node_modules/.bin/biome check . ; \
	else echo "No npm here: the page's scripts are not checked." >&2; fi

types: $(READY)
	$(BIN)/mypy

contracts: $(READY)
	$(BIN)/lint-imports

# The tests run on the wheel as a user would install it, not on the source folder.
wheel-test: $(READY) chromium
	rm -rf build/wheel
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(PYTHON) -m venv --clear $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(WHEEL_VENV)/bin/python -m pip install --quiet build/wheel/*.whl --group dev
	$(WHEEL_VENV)/bin/python -m pytest $(TOGETHER) $(ARGS)

bench: $(READY)
	for file in $(filter-out bench/mutants.py,$(wildcard bench/*.py)); do echo "== $$file"; PYTHONPATH=tests $(BIN)/python $$file || exit 1; done

mutants: $(READY)
	$(BIN)/python -m pip install --quiet --group mutants
	$(BIN)/python bench/mutants.py

COMFYUI_DIR ?= build/comfyui

test-comfyui: $(READY)
	$(BIN)/python tests/backends/comfyui/real_server.py $(COMFYUI_DIR) --prepare
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(COMFYUI_DIR)/front-end comfyui-frontend-package==1.32.9
	SAFELIGHT_COMFYUI_DIR=$(COMFYUI_DIR) \
	SAFELIGHT_COMFYUI_FRONT_END=$(COMFYUI_DIR)/front-end/comfyui_frontend_package/static \
	$(BIN)/python -m pytest tests/backends/comfyui tests/integrations/test_real_comfyui_pack.py $(ARGS)

test-training:
	$(PYTHON) -m venv build/training-venv
	build/training-venv/bin/python -m pip install --quiet -r training/requirements.txt "pytest>=8.2,<10"
	build/training-venv/bin/python -m pytest -p no:cacheprovider -c /dev/null --rootdir . training

# torch first: named last, it would be the build that carries gigabytes of GPU libraries.
test-diffusers:
	$(PYTHON) -m venv build/diffusers-venv
	build/diffusers-venv/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	build/diffusers-venv/bin/python -m pip install --quiet torch==2.13.0
	build/diffusers-venv/bin/python -m pip install --quiet torch==2.13.0 --editable ".[diffusers,ncnn]" --group dev
	build/diffusers-venv/bin/python -m pytest $(ARGS) \
		tests/backends/diffusers_engine tests/backends/test_one_config_everywhere.py
	build/diffusers-venv/bin/python -m pip install --quiet --no-deps torchvision==0.28.0 spandrel==0.4.2 einops
	build/diffusers-venv/bin/python -m pytest $(ARGS) tests/backends/test_upscalers.py

test-ray:
	$(PYTHON) -m venv build/ray-venv
	build/ray-venv/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	build/ray-venv/bin/python -m pip install --quiet --editable ".[ray]" --group dev
	build/ray-venv/bin/python -m pytest $(ARGS) tests/ray_cluster

test-s3:
	$(PYTHON) -m venv build/s3-venv
	build/s3-venv/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	build/s3-venv/bin/python -m pip install --quiet --editable ".[s3]" --group dev "moto[server,s3]>=5.0.20,<6"
	build/s3-venv/bin/python -m pytest $(ARGS) tests/object_store

test-sdcpp: $(READY)
	PYTHON=$(BIN)/python tests/backends/webui/real_sdcpp.sh

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
