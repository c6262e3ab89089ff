# Everything a person or CI does here. `make` alone explains itself.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run demo build test bench detect-report generate lint fuzz clean fmt vet staticcheck nested proto real tools bench-peers soak release release-check image chart
.DELETE_ON_ERROR:

# Programs that tests run against; one word each, see tools/real.sh.
REAL     ?= redis-server valkey-server toxiproxy-server nginx njs haproxy caddy envoy chromium prometheus
# How long `make fuzz` gives each fuzzer.
FUZZTIME ?= 30s
# How long a benchmark runs, and how often: benchstat wants 6 or more for an interval.
BENCHTIME ?= 300ms
COUNT     ?= 6
# How long `make soak` runs, how many checks of the limiter alone it then looks at, and flags for bench/peers/wire.
SOAK  ?= 30m
SOAK_CHECKS ?= 1e8
PEERS ?=
# Flags for `make run` and `make demo` (ARGS=--http=127.0.0.1:8081) and for bench/load in `make bench` (LOAD=-duration=60s).
ARGS ?=
LOAD ?=

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BIN     := .tools/bin
PROTOC  := $(addprefix $(BIN)/,buf protoc-gen-go protoc-gen-go-grpc protoc-gen-connect-go)
TOOLS   := $(PROTOC) $(addprefix $(BIN)/,staticcheck benchstat grpcurl)
RELEASE := $(addprefix $(BIN)/,image cyclonedx-gomod)
export PATH := $(CURDIR)/$(BIN):$(PATH):/usr/sbin

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+%?:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: build ## build and start the sidecar on the embedded default policy (ARGS="--http ...")
	bin/sendgate serve $(ARGS)

demo: build ## see it work: a morning with a pumping attack, in a minute
	bin/sendgate demo $(ARGS)

build: ## bin/sendgate, static, version stamped
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/sendgate ./cmd/sendgate

# The Go tests come last, so that their closing lines end the output.
test: real lint ## all that proves it: lint, real programs, race detector, fuzz seeds, the limiter under torture for 60 s
	SENDGATE_TORTURE=60s go test -count=1 -run '^TestSoak$$' ./limiter & torture=$$!; status=0; \
	go test -race -shuffle=on ./... || status=$$?; \
	wait $$torture || status=$$?; exit $$status

lint: fmt vet staticcheck nested proto ## gofmt, go vet, staticcheck, buf

fmt:
	@unformatted=$$(gofmt -l *.go */); [ -z "$$unformatted" ] || { echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; }

vet:
	go vet ./...

staticcheck: $(BIN)/staticcheck
	$(BIN)/staticcheck ./...

# Modules of their own, kept out of the main go.mod because of what they drag in.
nested:
	@for mod in $$(git ls-files '*/go.mod' ':!tools/go.mod'); do \
		dir=$${mod%/go.mod}; echo "go vet ./... # in $$dir"; (cd "$$dir" && go vet ./...) || exit 1; done

# buf takes minutes to build. Whoever changes only Go is served by the sums that `go test ./proto` compares; buf itself runs in
# CI, wherever the sums differ, and wherever it is built already.
proto:
	@if [ "$(CI)" = true ] || [ -x $(BIN)/buf ] || ! go test ./proto >/dev/null; then \
		$(MAKE) -s $(PROTOC) && tools/proto.sh check; \
	else echo "buf: not built; the sums in proto/generated.sum say that nothing changed"; fi

generate: $(PROTOC) ## Go from the protos (builds buf: minutes the first time)
	tools/proto.sh generate

bench: $(BIN)/benchstat ## benchmarks and the load test beside an empty handler; writes bench/results/
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -count $(COUNT) ./limiter ./gate ./bench | tee bench/results/go.txt
	$(BIN)/benchstat -filter .name:CheckSend -col /server bench/results/go.txt | tee bench/results/floor.txt
	go run ./bench/load $(LOAD) | tee bench/results/load-open.txt
	go run ./bench/load -mode closed $(LOAD) | tee bench/results/load-closed.txt
	go run ./bench/shapes | tee bench/results/shapes.md

# The peers are built once into .tools/peers (a quarter of an hour); parts: make bench-peers PEERS="-only 'closed/.*/16'".
bench-peers: ## Sendgate beside limitador, gubernator, envoyproxy/ratelimit, redis-cell; writes bench/results/peers.md
	bench/peers/build.sh
	cd bench/peers && go run ./wire $(PEERS)

soak: build ## SOAK (30m) of 3000/s with reloads, attacks, outcomes, churn, Redis restarts and overload; then the limiter alone
	go run ./bench/soak -for $(SOAK)
	cd limiter && SENDGATE_SOAK_CHECKS=$(SOAK_CHECKS) go test -run TestSoak -timeout 0 -v .

release: $(RELEASE) ## dist/: binaries, bills of materials, image, chart, checksums; the same commit gives the same bytes
	tools/release.sh

release-check: $(RELEASE) ## makes it twice, in two places, and compares
	tools/release.sh --check

image: $(BIN)/image build ## bin/sendgate.oci.tar, a container image without a daemon (podman load -i, skopeo, crane)
	$(BIN)/image -out bin/sendgate.oci.tar -version $(VERSION) linux/$$(go env GOARCH)=bin/sendgate

chart: $(BIN)/helm build ## lint the Helm chart, render it and check it by Kubernetes' schemas
	tools/chart.sh

# Without the scenarios it judges the fixture alone.
detect-report: build ## what detection catches and whom it hurts, against its bars; writes bench/results/detect.*
	go run ./bench/detectreport

fuzz: ## each fuzzer for FUZZTIME (30s)
	@for pkg in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
		echo "== $$pkg $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; done; done

real: ## install the real programs tests run against (redis-server, nginx, envoy ...)
	@tools/real.sh $(REAL)

install-%: ## one of them: make install-envoy
	@tools/real.sh $*

tools: $(TOOLS) ## every tool into .tools/bin: buf, grpcurl, benchstat ...

clean: ## remove what was built; keeps .tools and the state in data/
	rm -rf bin dist bench/results/*.txt

# Tools are pinned in tools/go.mod and built once.
$(BIN)/buf:                   PKG := github.com/bufbuild/buf/cmd/buf
$(BIN)/protoc-gen-go:         PKG := google.golang.org/protobuf/cmd/protoc-gen-go
$(BIN)/protoc-gen-go-grpc:    PKG := google.golang.org/grpc/cmd/protoc-gen-go-grpc
$(BIN)/protoc-gen-connect-go: PKG := connectrpc.com/connect/cmd/protoc-gen-connect-go
$(BIN)/staticcheck:           PKG := honnef.co/go/tools/cmd/staticcheck
$(BIN)/benchstat:             PKG := golang.org/x/perf/cmd/benchstat
$(BIN)/grpcurl:               PKG := github.com/fullstorydev/grpcurl/cmd/grpcurl
$(TOOLS): tools/go.mod tools/go.sum
	@echo "building $(@F)"
	@mkdir -p $(BIN)
	@cd tools && go build -o ../$@ $(PKG)
	@touch $@

# What a release needs comes from the module proxy by version: in tools/go.mod helm alone would bring half of Kubernetes.
HELM      := helm.sh/helm/v3/cmd/helm@v3.22.0
CYCLONEDX := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
$(BIN)/helm:            WANT := $(HELM)
$(BIN)/cyclonedx-gomod: WANT := $(CYCLONEDX)
$(BIN)/helm $(BIN)/cyclonedx-gomod:
	@echo "building $(@F)"
	@GOBIN=$(CURDIR)/$(BIN) go install $(WANT)
$(BIN)/image: tools/image/main.go tools/go.mod
	@cd tools && go build -o ../$@ ./image
