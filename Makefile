# What a newcomer types. Everything lives in .venv; Debian packages are installed only by root on
# a machine with apt-get, and only those that are missing (tools/debian-parts).
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
SEEDS ?= 2000
PYTEST ?=

.PHONY: demo up test lint bench sim soak machine clean

demo: $(READY)          ## the whole story on this machine, from nothing, in about a minute
	@tools/debian-parts containerd runc containernetworking-plugins busybox-static iptables
	$(PY) -m devcluster demo

up: $(READY)            ## broker, API server, hub and one agent; prints how to point kubectl at it
	@tools/debian-parts containerd runc containernetworking-plugins busybox-static iptables
	$(PY) -m devcluster up

test: $(READY)          ## all tests; what a missing real part skips is named at the end
	@tools/debian-parts --for-tests
	$(PY) -m pytest $(PYTEST)

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(READY)         ## prints every row of docs/benchmarks.md; nothing in it is a test
	@tools/debian-parts --for-tests
	$(PY) -m benchmarks

sim: $(READY)           ## bad days on a virtual clock: make sim SEEDS=100000
	$(PY) -m simulator --seeds $(SEEDS)

soak: $(READY)          ## the real-part scenarios too long for CI; one: make soak PYTEST=tests/offline/test_away.py
	@tools/debian-parts --for-tests
	$(PY) -m pytest -m soak --timeout 7200 $(PYTEST)

machine: $(READY)       ## what needs a kernel and a systemd of its own, in a virtual machine; docs/machine.md
	@tools/debian-parts --for-tests
	@tools/debian-parts qemu-system-x86 kmod e2fsprogs apparmor
	@tools/guest-kernel build/machine/kernel
	$(PY) -m pytest -m machine --timeout 7200 tests/machine $(PYTEST)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml
	@tools/make-venv $(VENV)
	@touch $@
