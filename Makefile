# Everything one does with edge-agent by name; `make help` lists it. The work is in build/*.sh.

.DEFAULT_GOAL := help
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

# Which OpenCV the release builds are for: 406 (Debian 12) or 410 (Debian 13).
OPENCV ?= 406

# For every go that is called here; the other settings are in build/env.sh.
export GOTOOLCHAIN := auto

.PHONY: test-answers help setup runtime build run watch test test-publish test-delegates test-cameras test-dashboards screenshots test-board test-zoo tensorflow test-tensorflow lint bench bench-cameras fresh-check arm64 amd64 deb release \
	clip model references zoo zoo-verify tour completion env clean distclean go opencv setup-run setup-cross

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## set up, build, and classify the demo clip with a broker of its own
	@exec bin/edge-agent run -c config.yaml --source models/demo/demo.mp4 --data-dir build/run --any-port --print

watch: ## show the messages of the agent that `make run` started
	@build/watch.sh

build: go setup-run runtime opencv ## build bin/edge-agent and bin/edge-agent-capture
	@source build/env.sh && build/build.sh bin

test: go ## set up and run every test, the linters and the arm64 build
	@build/test.sh

test-publish: build ## the long tests of publishing: crashes, faults, interop, fuzzing (FUZZTIME=10m)
	@source build/env.sh && build/test-publish.sh

.PHONY: bench-publish soak
bench-publish: build ## what the queue and the MQTT client cost, beside others: writes docs/publish-benchmarks.md
	@build/setup.sh publish
	@source build/env.sh && build/bench/publish.sh

soak: build ## the agent killed and cut off again and again (SOAK_KILLS=200)
	@source build/env.sh && build/test-publish.sh soak

test-delegates: setup go opencv build ## the long tests of delegates: every fault through the real agent
	@source build/env.sh && build/test-delegates.sh

test-cameras: go opencv ## the long tests of cameras: RTSP that dies and stalls, damaged streams (installs 28 MB)
	@build/setup.sh cameras
	@source build/env.sh && build/test-cameras.sh

test-dashboards: build ## the page in headless Chromium, the dashboards against Prometheus
	@source build/env.sh && build/test-dashboards.sh

screenshots: build ## draw the documents' pictures of the page, by the tests that hold it against MQTT
	@source build/env.sh && PICTURES=docs build/test-dashboards.sh pictures

test-board: go ## the packages installed and removed in minimal Debians, arm64 emulated (needs root; long)
	@build/test-board.sh

test-answers: build ## how far answers can be trusted: decoders, evaluations, what decoding costs
	@source build/env.sh && build/test-answers.sh

tensorflow: build ## the second engine: bin/edge-infer-tf for SavedModels (fetches 250 MB, needs 750 MB more)
	@build/setup.sh tensorflow
	@build/tensorflow.sh bin

test-tensorflow: tensorflow ## SavedModels end to end, beside the quantized model; what must be refused
	@build/setup.sh test
	@source build/env.sh && build/test-tensorflow.sh

lint: build ## golangci-lint (pinned) and the rules for files
	@build/lint.sh

bench: build ## compare speed with the raw loops and with Python
	@source build/env.sh && build/bench/run.sh

bench-cameras: build ## what a camera costs, against Python and against the bare work
	@source build/env.sh && build/bench/run.sh cameras

fresh-check: ## `make run` and `make test` in a minimal Debian 12 (needs root)
	@build/fresh-check.sh

arm64: go setup-cross ## cross-compile both binaries into build/out/arm64 (OPENCV=406 or 410, or OPENCV_ROOT=folder)
	@build/release.sh arm64 $(OPENCV)

amd64: go setup-cross ## the same for amd64
	@build/release.sh amd64 $(OPENCV)

deb: go setup-cross ## the Debian packages for ARCH (default: this machine's) into build/out/deb
	@build/deb.sh build/out/deb $(or $(ARCH),$(shell dpkg --print-architecture))

release: go ## all packages, checksums, SBOMs and a signed apt repository, into build/out/release
	@build/setup.sh release
	@build/release-all.sh build/out/release

model: ## remake the default model
	@zoo/make.sh model

clip: ## remake the demo clip
	@zoo/make.sh clip

zoo: ## make a quantized network: ARCH=resnet50 [WEIGHTS=resnet50.pth] [IMAGES=folder] [ZOOFLAGS=...]
	@zoo/make.sh net $(ARCH) $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(IMAGES),--images "$(IMAGES)") $(ZOOFLAGS)

zoo-verify: ## hold the zoo's networks against PyTorch's (installs 7 GB)
	@zoo/make.sh verify

tour: build ## write docs/tour.md from the networks that `make test-zoo` made
	@for m in build/cache/zoo-models/*/; do \
		bin/edge-agent inspect --json "$$m"*.tflite >"$$m/inspect.json" || exit; \
	done
	@zoo/make.sh tour

test-zoo: build ## make every network of the zoo and run it (an hour, 10 GB of memory, 8 GB of disk; CONTINUE=1 goes on)
	@source build/env.sh && build/test-zoo.sh

references: ## remake the reference answers that the tests compare with
	@zoo/make.sh references

completion: build ## shell completion for bash, zsh and fish into build/out/completion
	@mkdir -p build/out/completion
	@for shell in bash zsh fish; do \
		bin/edge-agent completion $$shell >build/out/completion/edge-agent.$$shell || exit; \
	done

setup: ## install the system packages that are missing (by apt; root or sudo)
	@build/setup.sh test

runtime: setup-run ## fetch the pinned LiteRT runtime (checked by sha256)
	@build/runtime.sh

env: opencv ## exports for a shell of your own: eval "$(make -s env)"
	@source build/env.sh && for name in GOTOOLCHAIN CGO_ENABLED CGO_CPPFLAGS PKG_CONFIG_PATH GOFLAGS; do \
		printf 'export %s=%q\n' $$name "$${!name}"; \
	done

clean: ## remove what was built; downloads stay
	@rm -rf bin build/out build/run

distclean: clean ## remove downloads as well
	@rm -rf build/cache

# Steps of the targets above.

go:
	@build/check-go.sh

setup-run:
	@build/setup.sh run

setup-cross:
	@build/setup.sh cross

opencv: setup-run
	@build/opencv.sh
