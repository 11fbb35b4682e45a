#!/bin/sh
# Measures on this machine's GPU what docs/gpu.md has figures of, within eight
# minutes, and writes them there: kernels by themselves, a file of Bamboo-7B's size
# on the GPU, on the CPU and on both, and whether the GPU's tests pass. Installs
# nothing but Deno, from npm, where there is none. Options: see bench/device.ts.
#
# Run: bench/device.sh [--small] [--minutes=8] [--layers=32]
set -eu
cd "$(dirname "$0")/.."
version=2.9.6
deno=$(command -v deno || true)
if [ -z "$deno" ]; then
  npm install --no-save --prefix .cache/device "deno@$version" >&2
  deno=.cache/device/node_modules/.bin/deno
fi
# OpenGL's adapters lack what the kernels need; Mesa's drivers ask for the folder.
export DENO_WEBGPU_BACKEND="${DENO_WEBGPU_BACKEND:-vulkan,metal,dx12}"
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"
exec "$deno" run --allow-read --allow-write --allow-run \
  --allow-env --allow-sys=cpus bench/device.ts "$@"
