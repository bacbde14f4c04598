# The settings under which our Go code builds on this machine; `make env` prints them. Sourced, never run.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

overlay=$cache/opencv/$(this_arch)

# Some installations of Go ship "local", which would refuse the toolchain that go.mod pins.
export GOTOOLCHAIN=auto
export CGO_ENABLED=1
export PKG_CONFIG_PATH=$overlay

# GoCV's own tags: only the modules that are named are compiled; core, imgproc and imgcodecs always are.
# No -buildvcs: build.sh sets the version, and git refuses to look into some folders.
export GOFLAGS="-buildvcs=false -tags=gocv_specific_modules,gocv_videoio"

# Go's build cache looks neither at headers nor at what pkg-config says: without this, objects made for one OpenCV
# would be linked with the next. A flag it does look at.
export CGO_CPPFLAGS="-DEDGE_AGENT_OPENCV=$(sed -n 's/^Version: //p' "$overlay/opencv4.pc" 2>/dev/null)"
