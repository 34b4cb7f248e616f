# ssegw: `make help` lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help

BIN := $(CURDIR)/.bin
# The race detector needs a C compiler.
RACE := $(if $(shell command -v $$(go env CC) 2>/dev/null),-race)
# Runs the tests of a module and shows progress.
GOTEST := .ci/gotest
FUZZTIME ?= 20s
STORE ?= discard
STORES ?= all
AUTO ?= off
BENCH ?= .
BENCHTIME ?= 1s
LONG ?= 2m

.PHONY: help build test vet unit reader tools model mutants e2e e2e-all stores large race lint fuzz bench s3suite functional gobench demo clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the gateway: .bin/ssegw
	@mkdir -p $(BIN)
	CGO_ENABLED=0 go build -trimpath -o $(BIN)/ssegw ./cmd/ssegw

demo: ## start KES, a store and the gateway, and show them at work (ONCE=1 to exit afterwards)
	@go -C e2e run ./demo $(if $(ONCE),-once)

test: vet unit e2e ## everything a change should pass, in less than 15 minutes

vet: ## go vet, for both modules
	go vet ./...
	go -C e2e vet ./...

unit: ## unit tests, with the race detector if there is a C compiler (RACE= turns it off)
	@$(GOTEST) unit . $(RACE) -parallel 8 -timeout 60m

reader: ## the independent reader of the format, on all test vectors (`make unit` runs it too)
	python3 docs/reader/ssegw_reader.py vectors sealer/testdata/vectors

# `make unit` and `make e2e-all` run a few histories, always the same.
model: ## random, concurrent and killed histories against the reference model for LONG (2m) per test, in memory or with STORE=minio|versitygw|ceph; see docs/adr/0022-model.md
ifeq ($(STORE),discard)
	SSEGW_MODEL=$(LONG) go test -count=1 -timeout 0 -v -run '^Test(Model|ModelLies|ConcurrentHistories|Crashes)$$' ./proxy
else
	SSEGW_MODEL=$(LONG) SSEGW_E2E_STORES=$(STORE) go -C e2e test -count=1 -timeout 0 -parallel 8 -v -run '^TestModel$$' .
endif

mutants: ## put faults into the gateway, one by one, and see that the reference model finds them (MUTANTS=regexp)
	@go -C e2e run ./mutants -run '$(MUTANTS)'

tools: ## build KES, MinIO, mc and versitygw for e2e into .bin
	@go -C e2e run ./tools kes minio mc versitygw

# Tests that call long() skip under -short.
e2e: tools ## end-to-end tests with real clients, KES and stores, except the long ones
	@SUBTESTS=1 $(GOTEST) e2e e2e -short -count=1 -parallel 4 -timeout 120m

e2e-all: tools ## all end-to-end tests
	@SUBTESTS=1 $(GOTEST) e2e e2e -count=1 -parallel 4 -timeout 120m

# The tests that the table in suite_test.go names.
stores: tools ## tests of the suite on all stores (STORES=ceph,swift,..., or SSEGW_E2E_STORE=URL); see CONTRIBUTING.md
	@go -C e2e run ./tools seaweedfs
	@names=$$(sed -n 's/^	"\(Test[A-Za-z]*\).*/\1/p' e2e/suite_test.go | sort -u | paste -sd '|' -); \
	  SSEGW_E2E_STORES=$(STORES) SUBTESTS=1 $(GOTEST) stores e2e -count=1 -parallel 3 -timeout 240m -run "^($$names|TestSkips)$$"

large: ## objects over 5 GiB, with MinIO and versitygw; needs 24 GiB of disk
	go -C e2e vet -tags large .
	go -C e2e test -v -count=1 -timeout 30m -tags large -run '^TestLarge(Jobs)?$$' .

race: ## unit tests with the race detector, three times each
	@$(GOTEST) race . -race -parallel 8 -count=3 -timeout 120m

lint: ## gofmt, golangci-lint, go mod tidy, and known vulnerabilities in called code
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  if [ -n "$$unformatted" ]; then echo "not gofmt'd:"; echo "$$unformatted"; exit 1; fi
	@mkdir -p $(BIN)
	go -C e2e/tools/lint build -mod=readonly -buildvcs=false -o $(BIN)/golangci-lint tool
	$(BIN)/golangci-lint run ./...
	cd e2e && $(BIN)/golangci-lint run ./...
	@for mod in $$(git ls-files '*go.mod'); do \
	  go -C $$(dirname $$mod) mod tidy -diff || { echo "$$mod is not tidy"; exit 1; }; \
	done
	@go -C e2e/tools/govulncheck run . $(CURDIR)

fuzz: ## run each fuzz target for FUZZTIME (20s), even after one fails
	@failed=; for pkg in $$(go list ./...); do \
	  targets=$$(go test -list '^Fuzz' $$pkg) || { echo "$$targets"; failed="$$failed $$pkg"; continue; }; \
	  for target in $$(echo "$$targets" | grep '^Fuzz'); do \
	    echo "== $$pkg $$target"; \
	    go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s $$pkg || failed="$$failed $$target"; \
	  done; \
	done; \
	if [ -n "$$failed" ]; then echo "fuzz: FAIL:$$failed"; exit 1; fi; \
	echo "fuzz: ok"

bench: ## measure the cost of the gateway (STORE=discard|versitygw|minio); see docs/PERFORMANCE.md
	@go -C e2e run ./bench -store $(STORE) $(BENCHFLAGS)

# The suites need a real store: versitygw unless STORE names another.
SUITE = go -C e2e run ./s3suite -store $(if $(filter discard,$(STORE)),versitygw,$(STORE)) -auto $(AUTO) $(SUITEFLAGS)

s3suite: ## versitygw's S3 tests, directly and through the gateway (STORE=versitygw|minio|ceph, AUTO=off|sse-s3|sse-kms); see docs/S3.md
	@$(SUITE)

functional: ## the same for minio-go's functional tests
	@$(SUITE) -suite minio-go -parallel 4

gobench: ## Go benchmarks of the packages (BENCH=pattern, BENCHTIME=1s)
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./...

clean: ## delete everything the targets built
	rm -rf $(BIN)
