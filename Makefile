# make train | test | build | format: each installs what is missing, builds, and runs. See README.md.
PRESET ?= release
BUILD := $(if $(filter release,$(PRESET)),build,build-$(PRESET))
JOBS ?= $(shell nproc)

.PHONY: build train test bench format check-format packages clean

build: packages
	cmake --preset $(PRESET) >/dev/null
	cmake --build --preset $(PRESET) -j $(JOBS)

# The main job: a convolutional network on the built-in digits, then a report to open in a browser.
train: build
	./build/wholestep train simple-cnn --data digits --epochs 5 --out runs/digits

test: build test-references
	ctest --preset $(PRESET) -j $(JOBS)

bench: build
	./build/wholestep bench --work W1,W2,W3,W4,W4s

packages:
	@tools/install-packages build

.PHONY: test-references
test-references:
	@tools/install-packages test

format: packages
	git ls-files '*.h' '*.cpp' | xargs clang-format -i

check-format: packages
	git ls-files '*.h' '*.cpp' | xargs clang-format --dry-run --Werror

clean:
	rm -rf build build-*
