# vitals: the two commands are "make run" and "make test".

GO       ?= go
VERSION  ?= $(shell sh deploy/version.sh)
VERSION  := $(VERSION)
PORT     ?= 8186
FUZZTIME ?= 5s
TARGETS  ?= amd64 arm64 armv6
DIST     ?= dist
# The time of all that is packed, so that the same commit gives the same bytes.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date -r go.mod +%s)
PART     ?= all
BENCH_SECONDS ?= 60
BENCH_ROUNDS  ?= 5

PROGRAMS := vitals-agent vitals-relay
# Where CI is set, which is on machines that are slow and shared, a test that fails
# is run once more, alone, and both results are reported. Nothing is run again where
# a data race was seen or much has failed, nor what looks for lost lines, the spool's
# tests and LOSS: one loss in a thousand runs is a loss.
TESTSUM  := $(GO) tool -modfile=tests/tools/go.mod gotestsum $(if $(CI),--rerun-fails=1 --rerun-fails-max-failures=4 --rerun-fails-abort-on-data-race)
LOSS     := RelayFault|Killed
# What no program needs and every one would carry: gRPC's debugging pages with
# their HTML templates, and HTTP/2 beside gRPC's own, for InfluxDB writes are
# HTTP/1.1.
TAGS     := grpcnotrace,nethttpomithttp2
# Code that is inlined lies in memory more than once, and the agent, which has
# little to compute, is the smaller without it. Its own packages keep theirs, for
# every line goes through them.
SMALL    := -gcflags=all=-l -gcflags=github.com/rpicluster/vitals/...=
BUILD    := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -tags $(TAGS) -ldflags "-s -w -X main.version=$(VERSION)"

.PHONY: help build run test check unit e2e faults fuzz bench programs dist generate manual clean go-version

help: ## say what can be made
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-10s %s\n", $$1, $$2}'

build: go-version ## build both programs into bin/
	@mkdir -p bin
	@[ -e bin/vitals-relay ] || echo "building both programs, which takes a minute or two the first time"
	@$(BUILD) -o bin/vitals-agent ./agent
	@$(BUILD) -o bin/vitals-relay ./relay

run: build ## run relay and agent here until Ctrl-C; INFLUX_URL=http://host:8086 forwards there, PORT=8187 moves the page
	@INFLUX_URL="$(INFLUX_URL)" PORT="$(PORT)" sh deploy/run.sh

test: go-version ## install what the tests need, then check, unit, fuzz and e2e
	@sh tests/install.sh
	@$(MAKE) --no-print-directory check unit fuzz e2e

check: go-version ## gofmt, vet, and that generated code is up to date
	@unformatted=$$(gofmt -l agent plugins relay internal deploy tests); \
	  [ -z "$$unformatted" ] || { echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) -C deploy/package vet .
	sh plugins/proto/generate.sh --check

unit: go-version ## unit tests with the race detector
	$(GO) test -race -timeout 20m ./internal/spool/...
	@$(TESTSUM) --format standard-quiet --packages "$$($(GO) list ./... | grep -v -e '/tests$$' -e /internal/spool | tr '\n' ' ')" -- -race -timeout 20m
	$(GO) -C deploy/package test .
	$(GO) test -run NothingIsAllocated ./agent/selection # which the race detector hides

e2e: go-version ## the programs from outside, with a real InfluxDB
	$(GO) test -v -timeout 60m -parallel 4 -run '$(LOSS)' ./tests # most of them wait
	@$(TESTSUM) --format standard-verbose --packages ./tests -- -timeout 60m -parallel 4 -skip '$(LOSS)'

faults: go-version ## lose nothing, in an hour or two instead of minutes: each fault as often as docs/guarantees.md says (VITALS_SEED=N repeats)
	VITALS_FAULTS=full $(GO) test -v -timeout 24h -parallel 5 -run RelayFault ./tests

fuzz: go-version ## every fuzz target for FUZZTIME (5s)
	@GO="$(GO)" sh tests/fuzz.sh $(FUZZTIME)

bench: go-version ## size and speed beside what is installed (PEERS=install installs it), then the Go benchmarks; PART=relay, PART=agent
	@$(MAKE) --no-print-directory programs TARGETS=amd64
	@[ "$(PEERS)" != install ] || GO="$(GO)" sh tests/bench/install.sh
	@mkdir -p bin
	@$(BUILD) -o bin/vitals-bench ./tests/bench
	@bin/vitals-bench -part $(PART) -programs dist/linux-amd64 -seconds $(BENCH_SECONDS) -rounds $(BENCH_ROUNDS) -telegraf "$(TELEGRAF)"
	@[ $(PART) != all ] || $(GO) test -run '^$$' -bench . -benchmem ./agent/... ./internal/... ./plugins/... ./relay/...

programs: go-version ## static builds of both programs for amd64, arm64 and ARMv6 into dist/ (TARGETS=amd64: that one)
	@set -e; for target in $(TARGETS); do \
	  case $$target in armv6) export GOARCH=arm GOARM=6;; *) export GOARCH=$$target; unset GOARM;; esac; \
	  for program in $(PROGRAMS); do \
	    case $$program in vitals-agent) small="$(SMALL)";; *) small=;; esac; \
	    echo "$(DIST)/linux-$$target/$$program"; \
	    GOOS=linux $(BUILD) $$small -o $(DIST)/linux-$$target/$$program ./$${program#vitals-}; \
	  done; \
	done

dist: ## programs, packages for dpkg and rpm, archives, SBOMs and checksums, all anew, into dist/
	@rm -rf $(DIST)/linux-* $(DIST)/vitals-* $(DIST)/SHA256SUMS
	@$(MAKE) --no-print-directory programs
	@$(GO) -C deploy/package run . -dist $(abspath $(DIST)) -targets "$(TARGETS)" -version $(VERSION) -time $(SOURCE_DATE_EPOCH)
	@cd $(DIST) && export LC_ALL=C && sha256sum linux-*/vitals-* vitals-* > SHA256SUMS

generate: ## write the gRPC code again after a change of the contract
	sh plugins/proto/generate.sh

manual: ## write man pages and completion again after a change of a help
	$(GO) test ./agent ./relay -run TestManual -update

clean: ## remove everything that was built or run here
	rm -rf bin dist .run

go-version:
	@sh deploy/go-version.sh "$(GO)"
