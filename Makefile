# Everything one does with edge-agent by name; `make help` lists it. The work is in build/*.sh.

.DEFAULT_GOAL := help
SHELL := /bin/bash

ARCH := $(shell dpkg --print-architecture 2>/dev/null || uname -m)
CACHE := $(CURDIR)/build/cache

# Some installations of Go ship "local", which would refuse the toolchain that go.mod pins.
export GOTOOLCHAIN := auto
export CGO_ENABLED := 1
export PKG_CONFIG_PATH := $(CACHE)/opencv/$(ARCH)$(if $(PKG_CONFIG_PATH),:$(PKG_CONFIG_PATH))
# GoCV's own tags: only the modules that are named are compiled; core, imgproc and imgcodecs always are.
GO_TAGS := gocv_specific_modules,gocv_videoio
export GOFLAGS := $(strip $(filter-out -tags=%,$(GOFLAGS)) -tags=$(GO_TAGS))

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: env
env: opencv ## exports for a shell of your own: eval "$$(make -s env)"
	@printf 'export %s=%q\n' GOTOOLCHAIN "$$GOTOOLCHAIN" CGO_ENABLED "$$CGO_ENABLED" \
		PKG_CONFIG_PATH "$$PKG_CONFIG_PATH" GOFLAGS "$$GOFLAGS"

.PHONY: opencv
opencv:
	@build/opencv.sh $(ARCH)

.PHONY: runtime
runtime: ## fetch the pinned LiteRT runtime (checked by sha256)
	@build/runtime.sh $(ARCH)
