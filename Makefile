.DEFAULT_GOAL := help
.PHONY: help run build test race lint fuzz bench chaos e2e ci

help: ## this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 8

run: ## a server to try things out, on 127.0.0.1:8080
	@go run ./cmd/sunzi dev

build: ## bin/sunzi and bin/sunzi-bench
	@go build -trimpath -o bin/ ./cmd/sunzi ./cmd/sunzi-bench

test: ## everything: installs what it needs, ends with "N passed, N failed"
	@.ci/test

race: ## unit tests with the race detector
	@.ci/test race

lint: ## golangci-lint, with .golangci.yml
	@go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run

fuzz: ## every fuzz target for a minute (FUZZTIME=1m)
	@.ci/fuzz

bench: ## the figures of bench/results, on this machine: an hour
	@.ci/bench

chaos: build ## breaks three nodes, MariaDB and Redis for ten minutes (CHAOS="--seed 7 --seeds 5")
	@.ci/needs chaos && bin/sunzi-bench chaos $(CHAOS)

e2e: ## the crash test and the browser tests alone
	@.ci/test e2e browser

ci: ## what the build machine runs
	@.ci/run
