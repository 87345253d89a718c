#!/usr/bin/env bash
# Makes a Rust toolchain with the libraries of every target that the cross stage uses, and prints its name
# (for `cargo +NAME …`) as the only line on stdout. Does nothing when all is there.
#
# Two routes: `rustup target add` to the stable toolchain; where that cannot download, Debian's own rustc packages,
# from which a linked toolchain `kernform-cross` is put together (root; about 260 MB, 5 minutes, once).
# KERNFORM_CROSS_ROUTE=rustup|debian takes one of them only. KERNFORM_CACHE is where the second is kept.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
exec 3>&1 1>&2

route=${KERNFORM_CROSS_ROUTE:-any}
# target:crates to build from source on the Debian route (- where a package has them built)
targets='aarch64-unknown-linux-gnu:-
thumbv7em-none-eabihf:core,alloc
aarch64-unknown-none:core,alloc
riscv32imac-unknown-none-elf:core,alloc
wasm32-unknown-unknown:std,panic_abort
wasm32-wasip1:std,panic_abort,test'

apt_need gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user ||
    fail 'the cross stage needs an AArch64 linker and qemu-user'

by_rustup() {
    local installed missing=() target
    installed=$(rustup target list --installed --toolchain stable)
    for target in $targets; do
        grep -qx "${target%%:*}" <<<"$installed" || missing+=("${target%%:*}")
    done
    [ ${#missing[@]} -eq 0 ] || timeout 300 rustup target add --toolchain stable "${missing[@]}"
}

if [ "$route" != debian ] && command -v rustup >/dev/null && by_rustup; then
    echo stable >&3
    exit
fi
[ "$route" != rustup ] || fail 'rustup could not add the targets'
command -v rustup >/dev/null || fail 'neither route works: no rustup'
apt_need rustc-web rust-web-src rust-web-clippy wasi-libc ||
    fail 'neither route works: rustup has no targets to download, and the Debian packages cannot be installed'

name=kernform-cross
host=x86_64-unknown-linux-gnu
sysroot=$cache/cross
lib=$sysroot/lib/rustlib
debian=/usr/lib/rustlib
version=$(dpkg-query -W -f='${Version}' rustc-web)
stable=$(rustup run stable rustc --print sysroot)

# A new compiler cannot read the old one's libraries.
if [ "$(cat "$lib/version" 2>/dev/null)" != "$version" ]; then rm -rf "$sysroot"; fi
mkdir -p "$sysroot/bin" "$lib/$host/lib"
ln -sf "$debian/$host"/lib/* "$lib/$host/lib/"
ln -sfn "$debian/src" "$lib/src"
ln -sfn "$debian/etc" "$lib/etc"
ln -sfn "$stable/lib/rustlib/$host/bin" "$lib/$host/bin" # rust-lld links bare metal and wasm
# Wrappers, because doctests do not see a --sysroot that comes by RUSTFLAGS.
for tool in rustc rustdoc; do
    printf '#!/bin/sh\nexec /usr/bin/%s --sysroot="%s" "$@"\n' "$tool" "$sysroot" >"$sysroot/bin/$tool"
done
printf '#!/bin/sh\nSYSROOT="%s" exec /usr/bin/cargo-clippy "$@"\n' "$sysroot" >"$sysroot/bin/cargo-clippy"
chmod +x "$sysroot"/bin/*
ln -sf "$stable/bin/cargo" "$sysroot/bin/cargo"
echo "$version" >"$lib/version"
rustup toolchain link "$name" "$sysroot"

# Only the libraries of Debian's arm64 package are wanted, not what it depends on.
unpack_arm64() {
    local scratch=$1
    dpkg --print-foreign-architectures | grep -qx arm64 || { dpkg --add-architecture arm64 && apt-get update -qq; }
    (cd "$scratch" && apt-get download -qq "libstd-rust-web-dev:arm64=$version" 2>/dev/null && dpkg -x ./*.deb files)
    mv "$scratch/files/usr/lib/rustlib/aarch64-unknown-linux-gnu" "$lib/"
}

build_from_source() {
    local target=$1 crates=$2 scratch=$3 out=$lib/$1/lib flags='' object
    mkdir -p "$out" "$scratch/src"
    printf '[package]\nname = "seed"\nversion = "0.0.0"\nedition = "2024"\n' >"$scratch/Cargo.toml"
    echo '#![no_std]' >"$scratch/src/lib.rs"
    if [ "$target" = wasm32-wasip1 ]; then
        mkdir -p "$out/self-contained"
        cp /usr/lib/wasm32-wasi/libc.a "$out/self-contained/"
        flags=-L$out/self-contained
    fi
    (cd "$scratch" && RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags CARGO_PROFILE_RELEASE_PANIC=abort CARGO_TARGET_DIR=$scratch/target \
        cargo "+$name" build -q --release -Zbuild-std="$crates" --target "$target")
    find "$scratch/target/$target/release/deps" \( -name '*.rlib' -o -name '*.rmeta' \) ! -name 'libseed-*' \
        -exec cp {} "$out/" \;
    if [ "$target" = wasm32-wasip1 ]; then
        # Debian's wasi-libc is older than std and lacks two thread functions, which no program without threads calls.
        cat >"$scratch/missing.rs" <<'RS'
#![no_std]
#[unsafe(no_mangle)] pub extern "C" fn pthread_join(_: usize, _: *mut *mut u8) -> i32 { 58 }
#[unsafe(no_mangle)] pub extern "C" fn pthread_detach(_: usize) -> i32 { 58 }
RS
        rustc "+$name" --edition 2024 --crate-type=rlib --emit=obj --target "$target" -O -Cpanic=abort \
            -o "$scratch/missing.o" "$scratch/missing.rs"
        for object in crt1-command crt1-reactor; do
            "$lib/$host/bin/rust-lld" -flavor wasm -r "/usr/lib/wasm32-wasi/$object.o" "$scratch/missing.o" \
                -o "$out/self-contained/$object.o"
        done
    fi
}

for entry in $targets; do
    target=${entry%%:*}
    [ ! -e "$lib/$target/complete" ] || continue
    rm -rf "${lib:?}/$target"
    scratch=$(mktemp -d)
    if [ "$target" = aarch64-unknown-linux-gnu ]; then
        unpack_arm64 "$scratch"
    else
        build_from_source "$target" "${entry#*:}" "$scratch"
    fi
    rm -rf "$scratch"
    touch "$lib/$target/complete"
done
echo "$name" >&3
