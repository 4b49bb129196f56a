# `make demo` and `make test` work on a fresh machine with Python 3.11 to 3.14 and make; nothing is installed globally.
VENV ?= .venv
# The first that runs: a version manager's shims can stand for versions that are not switched on.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
  "$$python" -c '' 2>/dev/null && command -v "$$python" && break; done)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What generates the protobuf code has an environment of its own, with the oldest protobuf that Rube runs on: code that
# one major version generates runs on the next one too, and not the other way round.
TOOLS := $(VENV)/tools
PROTOS := $(sort $(wildcard rube/*.proto rube/*/*.proto rube/*/*/*.proto))
# Those that users write objects of, whose comments `ructl explain` shows.
API_PROTOS := rube/api.proto $(sort $(wildcard rube/api/*.proto))
GRPC_PROTOS := rube/api.proto rube/api/auth.proto rube/api/nodes.proto rube/group/group.proto rube/store/etcd/rpc.proto
# The options of rules (buf.validate), which users' files import too.
INCLUDE := rube/api/types/include

.PHONY: help demo test up check docs unit compare-pythons unit-newest unit-pythons test-pythons coverage campaign-short campaign-crash campaign-power campaign-sims campaign-fuzz conformance-protovalidate campaign-planted bench bench-stores wheel deb proto rust rust-modules proto-check clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | column -t -s "$$(printf '\t')"

$(READY): pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15) and "Rube needs Python 3.11 to 3.14: make PYTHON=/path/to/python3.12 …")'
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[all,dev]'
	@touch $@

demo: $(READY) ## the main job: real daemons, a lost network, a killed server; then a simulated partition (~1 min)
	@$(BIN)/python -m rube.cli.demo

up: $(READY) ## a development cluster in the foreground; Ctrl-C ends it
	@$(BIN)/rube up

test: $(READY) check docs campaign-short compare-pythons unit-newest unit ## everything that CI checks

check: $(READY) proto-check ## lint, format, types, floors, words, generated code
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -q tests/unit/test_words.py tests/unit/test_class_names.py

docs: $(READY) ## the documentation as a site: site/index.html; a broken link or anchor fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# One worker more than cores: tests of real daemons wait more than they compute. A file's tests run in order on one worker,
# and the files in the order of folders, so that the real ones don't come last.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

unit: $(READY) ## the tests alone: make unit ARGS='tests/unit -k mvcc'
	$(BIN)/pytest $(or $(ARGS),$(PARALLEL))

compare-pythons: $(READY) ## the traces of all scenarios on each Python that is here: make compare-pythons SECONDS=0 (to their ends)
	$(BIN)/python tests/pythons.py compare $(VENV)/pythons $(or $(SECONDS),8)

# What may run in another way on another Python: Rube's own code, without daemons, long simulations, and tests of texts.
UNIT_PYTHONS := $(addprefix tests/unit/,api client controllers group raft server sim_kernel sim_linearizability sim_network store transport)
unit-newest: $(READY) ## the unit tests of Rube's own code on the newest other Python that is here
	$(BIN)/python tests/pythons.py newest $(VENV)/pythons $(PARALLEL) $(UNIT_PYTHONS)

unit-pythons: $(READY) ## the same on each other Python that is here
	$(BIN)/python tests/pythons.py test $(VENV)/pythons $(PARALLEL) $(UNIT_PYTHONS)

test-pythons: $(READY) ## all tests on each other Python that is here: make test-pythons ARGS='tests/unit tests/simulation'
	$(BIN)/python tests/pythons.py test $(VENV)/pythons $(PARALLEL) $(ARGS)

# Coverage's other core reads sources in the middle of a world, whose guard refuses that. Counting takes its time, so tests
# get more of it. A run that is broken off leaves no table of an earlier one.
coverage: $(READY) ## the lines and branches that tests reach, a package a row: make coverage ARGS='--cov-append tests/real'
	@rm -f $(VENV)/coverage.json
	COVERAGE_CORE=ctrace COVERAGE_FILE=$(abspath $(VENV))/.coverage \
	  $(BIN)/pytest $(PARALLEL) -o timeout=900 --cov --cov-report=json:$(VENV)/coverage.json $(ARGS); code=$$?; \
	  [ ! -f $(VENV)/coverage.json ] || $(BIN)/python tests/coverage_table.py $(VENV)/coverage.json; exit $$code

# The scenario, and how many seeds of it: under 90 s of processor time in all.
SHORT := nodes-chaos:2 store-chaos:1 leases-chaos:2 replicas-chaos:1 servers-hang:1 restore:1 reboot-offline:1 move:1 \
  raft-writes:1 raft-snapshots:1 raft-members:1 raft-elections:1 raft-reads:1 sqlite-chaos:1
campaign-short: $(READY) ## the scenarios that find most, under a few seeds each: make campaign-short FIRST=1000
	@failed=0; for pair in $(SHORT); do \
	  $(BIN)/rube sim "scenarios/$${pair%%:*}.yaml" --seeds "$${pair##*:}" --seed $(or $(FIRST),1) --tie-break || failed=1; \
	done; exit $$failed

campaign-crash: $(READY) ## kill -9 during commits, a thousand times on each engine (minutes)
	RUBE_CRASH_LIVES=1000 $(BIN)/pytest tests/real/test_disk_faults_crash.py

campaign-power: $(READY) ## SQLite's life cut at each of its writes, by power loss and kill -9: make campaign-power SEEDS=20 (minutes)
	RUBE_POWER_SEEDS=$(or $(SEEDS),20) $(BIN)/pytest tests/unit/store/test_sqlite_simulated.py -k cut

campaign-fuzz: $(READY) ## damaged inputs for every reader of foreign bytes: make campaign-fuzz INPUTS=1000000 SEED=1 (an hour)
	$(BIN)/python -m tests.fuzz --inputs $(or $(INPUTS),1000000) --seed $(or $(SEED),1)

campaign-sims: $(READY) ## every scenario under many seeds: make campaign-sims SEEDS=200 FIRST=1000 (an hour)
	@failed=0; for scenario in scenarios/*.yaml; do for ties in "" --tie-break; do \
	  $(BIN)/rube sim "$$scenario" --seeds $(or $(SEEDS),200) --seed $(or $(FIRST),1000) $$ties || failed=1; \
	done; done; exit $$failed

# Types that a push refuses fail their cases: predefined rules, rules that depend on the time, a field that there is not.
PROTOVALIDATE ?= protovalidate-conformance
REFUSED := is not known here|depends on the time|reads `now`|no_such_field
conformance-protovalidate: $(READY) ## protovalidate's own suite of rules; needs its runner, which go installs
	@command -v "$(PROTOVALIDATE)" >/dev/null || { echo "$(PROTOVALIDATE) is not there: git clone \
	https://github.com/bufbuild/protovalidate && cd protovalidate/tools && go install ./protovalidate-conformance, \
	then PROTOVALIDATE=~/go/bin/protovalidate-conformance make conformance-protovalidate" >&2; exit 1; }
	@"$(PROTOVALIDATE)" --timeout 300s $(BIN)/python tests/protovalidate_cases.py 2>$(VENV)/protovalidate.log; \
	  tail -n 1 $(VENV)/protovalidate.log; grep -q 'passed: [1-9]' $(VENV)/protovalidate.log && \
	  ! grep -A 1 'got:' $(VENV)/protovalidate.log | grep 'got:' | grep -vE '$(REFUSED)'

campaign-planted: $(READY) ## published bugs, planted one at a time, and seeds without one: make campaign-planted SEEDS=20 CLEAN=2000 (hours)
	$(BIN)/python -m tests.planted.campaign --seeds $(or $(SEEDS),20) --clean $(or $(CLEAN),2000)

bench: $(READY) ## the benchmarks, with ratios against their peers (minutes); docs/explanation/benchmarks.md holds a run
	$(BIN)/python -m bench.run

bench-stores: $(READY) ## all stores, up to a million objects (many minutes); etcd and MariaDB where they are installed
	$(BIN)/python -m bench.stores --kinds all --sizes 10000,100000,1000000 $(ARGS)

wheel: $(READY) ## dist/: a wheel, and the sources that it is built from
	rm -rf dist && $(BIN)/python -m build --outdir dist .

deb: wheel ## dist/: a Debian package for this machine's release and architecture; needs Debian and its python3
	PIP=$(abspath $(BIN))/pip packaging/debian/build dist/*.whl dist

# Generated code has no options of rules: at run time it needs no descriptor of buf/validate. descriptors.binpb keeps them.
PROTOC = PATH="$(abspath $(TOOLS)/bin):$$PATH" $(TOOLS)/bin/python -m grpc_tools.protoc
define GENERATE
mkdir -p $(1)/rube/api/types $(1)/rube/sim/scenario
$(PROTOC) -I. -I$(INCLUDE) --include_imports --include_source_info --descriptor_set_out=$(TOOLS)/all.binpb $(PROTOS)
$(TOOLS)/bin/python packaging/strip_rules.py $(TOOLS)/all.binpb $(TOOLS)/stripped.binpb
$(PROTOC) --descriptor_set_in=$(TOOLS)/stripped.binpb --python_out=$(1) --mypy_out=quiet:$(1) $(PROTOS)
$(PROTOC) --descriptor_set_in=$(TOOLS)/stripped.binpb --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) $(GRPC_PROTOS)
$(PROTOC) -I. -I$(INCLUDE) --include_source_info --descriptor_set_out=$(1)/rube/api/descriptors.binpb $(API_PROTOS)
$(PROTOC) -I. --include_source_info --descriptor_set_out=$(1)/rube/sim/scenario/descriptors.binpb rube/sim/scenario/scenario.proto
$(PROTOC) -I$(INCLUDE) --descriptor_set_out=$(1)/rube/api/types/validate.binpb buf/validate/validate.proto
endef

$(TOOLS)/.ready: Makefile | $(READY)
	"$(PYTHON)" -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check 'grpcio-tools>=1.78,<1.79' 'mypy-protobuf>=5.1,<6'
	@touch $@

proto: $(TOOLS)/.ready ## generate the protobuf code anew
	$(call GENERATE,.)

# Equal sources give equal modules, wherever they are built: paths of this machine are not in them.
RUST_FLAGS = --remap-path-prefix=$(CURDIR)=/rube \
  $(foreach crates,$(wildcard $(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/*),--remap-path-prefix=$(crates)=/crates)
rust: ## the messages and the WebAssembly modules of the controllers in Rust anew; needs rustup
	cargo run --quiet --package generate . sdk/rust/rube-controller/src/messages
	$(MAKE) --no-print-directory rust-modules

rust-modules:
	cargo fetch --quiet
	RUSTFLAGS="$(RUST_FLAGS)" cargo build --quiet --release --package agents --target wasm32-unknown-unknown --target-dir target
	install -m 644 target/wasm32-unknown-unknown/release/agents.wasm examples/03-own-controller

proto-check: $(TOOLS)/.ready
	@rm -rf $(VENV)/proto && mkdir -p $(VENV)/proto
	@$(call GENERATE,$(VENV)/proto)
	@cd $(VENV)/proto && find rube -name '*_pb2*' -o -name '*.binpb' | sort | while read -r file; do \
	  cmp -s "$$file" "$(CURDIR)/$$file" || { echo "$$file is not what the .proto files generate: run make proto" >&2; exit 1; }; done

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
