# make train | test | test-threads | build | bench | measure | format: each installs what is missing, builds, and runs. See README.md.
PRESET ?= release
BUILD := $(if $(filter release,$(PRESET)),build,build-$(PRESET))
JOBS ?= $(shell nproc)

.PHONY: build command configure train test test-threads test-references check-references bench measure reference format check-format packages clean

build: configure
	cmake --build --preset $(PRESET) -j $(JOBS)

# The command alone, without tests, examples and benchmarks.
command: configure
	cmake --build --preset $(PRESET) -j $(JOBS) --target wholestep_cli

configure: packages
	cmake --preset $(PRESET) >/dev/null

# The main job: a convolutional network on the built-in digits, then a report to open in a browser.
train: command
	$(BUILD)/wholestep train simple-cnn --data digits --epochs 5 --out runs/digits

test: build test-references
	ctest --preset $(PRESET) -j $(JOBS)

# What threads share, under ThreadSanitizer: the pool, the eager allocator, the loader, whole networks in lanes.
test-threads: packages
	cmake --preset tsan >/dev/null
	cmake --build --preset tsan -j $(JOBS) --target backend_tests data_tests train_tests
	ctest --preset tsan -j $(JOBS) -L '^(backend|data|train)$$' -R 'Thread|MemoryCache|EagerMemory|DataLoader'

bench: command
	$(BUILD)/wholestep bench --work W1,W2,W3,W4,W4s

# Figures of this machine into README.md, and what tables and headers say into docs/reference.md.
measure: command
	tools/update-readme-table $(BUILD)/wholestep $(MEASURE_OPTIONS)

reference: command
	tools/update-reference $(BUILD)/wholestep

packages:
	@tools/install-packages build

test-references:
	@tools/install-packages test

# What PyTorch says of every op, layer, loss and optimizer, computed again and compared with what is stored; PYTHON=... where PyTorch is elsewhere.
check-references:
	@$${PYTHON:-python3} -c 'import torch' 2>/dev/null || tools/install-packages references
	tools/check-references

format: packages
	git ls-files '*.h' '*.cpp' | xargs clang-format -i

check-format: packages
	git ls-files '*.h' '*.cpp' | xargs clang-format --dry-run --Werror

clean:
	rm -rf build build-*
