.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "crossface needs Python 3.11 or newer; set PYTHON=..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

install: $(STAMP) ## create .venv and install crossface with everything it can use

demo: $(STAMP) ## the main job in five minutes: distil a CNN from a Transformer on drawn faces
	$(BIN)/crossface demo --out build/demo

test: $(STAMP) ## the fast tests: offline, seeded, no weights
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(STAMP) ## the slow tests too
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not gpu and not network and not weights"

format: $(STAMP) ## rewrite the code as the formatter wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: $(STAMP) ## static checks: format, lint, types, imports, docs freshness
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m crossface.app.docs --check

docs: $(STAMP) ## regenerate the command-line page
	$(BIN)/python -m crossface.app.docs

retrain-default: $(STAMP) ## the packaged models again, from FAIRFACE= TEACHER= LFW= LFW_PAIRS= FAIRFACE_VAL= FAIRFACE_PAIRS= RETINAFACE= YUNET= FSANET_1X1= FSANET_VAR=
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,openvino]'
	leg() { $(BIN)/crossface distill configs/$${name}_student.toml --data "$(FAIRFACE)" --teacher "$(TEACHER)" "$$@"; }; \
	for plan in "default 36000 32000" "tiny 22000 22000"; do \
		set -- $$plan; name=$$1; second=$$2; third=$$3; \
		leg --out build/$${name}_first && \
		leg --out build/$${name}_second --set student.weights=build/$${name}_first/student.safetensors \
			--distiller sp --set optim.lr=4e-3 --seed 1 --steps $$second && \
		leg --out build/$$name --set student.weights=build/$${name}_second/student.safetensors \
			--distiller sp --set optim.lr=2.5e-3 --seed 2 --steps $$third && \
		$(BIN)/python benchmarks/package_model.py build/$$name --name $$name --teacher-licence Apache-2.0 \
			--lfw "$(LFW)" --lfw-pairs "$(LFW_PAIRS)" --fairface "$(FAIRFACE_VAL)" \
			--fairface-pairs "$(FAIRFACE_PAIRS)" --quantize-on "$(FAIRFACE)" --out src/crossface/assets || exit 1; \
	done
	$(BIN)/crossface train-detector configs/detector.toml --crops "$(FAIRFACE)" \
		--detector "$(RETINAFACE)" --detector "$(YUNET)" --pose "$(FSANET_1X1)" --pose "$(FSANET_VAR)" \
		--out build/detector --onnx src/crossface/assets/detector.onnx

clean: ## remove what can be made again
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help install demo test test-all format check docs retrain-default clean
