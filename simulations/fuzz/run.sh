#!/usr/bin/env bash
# Fuzzes every decoder for some seconds each: `run.sh [SECONDS] [TARGET…]`, 10 s by default. Needs a C++ compiler for
# libFuzzer. A crash is written to artifacts/, and becomes an ordinary test beside the decoder when it is mended.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
seconds="${1:-10}"; shift || true
command -v c++ > /dev/null || { echo "skipped: fuzzing needs a C++ compiler"; exit 0; }
# What `cargo fuzz` sets, with flags that the stable compiler takes.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
# A target that is named makes cargo leave build scripts and macros without these flags.
triple="$(rustc -vV | sed -n 's/^host: //p')"
cargo build --quiet --release --locked --bins --target "$triple"
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(basename -s .rs -a targets/*.rs)
mkdir -p artifacts corpus
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target"
    "target/$triple/release/$target" "corpus/$target" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=512 \
        -timeout=10 -artifact_prefix="artifacts/$target-" > "artifacts/$target.log" 2>&1 \
        || { tail -n 40 "artifacts/$target.log"; echo "FAILED: $target"; exit 1; }
    echo "ok - $target, $seconds s, $(find "corpus/$target" -type f | wc -l) inputs kept"
done
