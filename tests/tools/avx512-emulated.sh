#!/usr/bin/env bash
# Runs x86-64 Linux programs on an emulated CPU with AVX-512 (F, BW, DQ, VL), for machines without it.
#
#   avx512-emulated.sh BINARY [ARGS…]                 one program; usable as a cargo runner
#   avx512-emulated.sh --all BINARY… -- [ARGS…]       several programs with the same arguments in one boot
#
# QEMU has no AVX-512, Bochs has: it boots a Debian kernel from a CD image whose initial file system holds the programs.
# Booting takes about 20 s; the machine does about 50 million instructions a second, so choose small tests.
# Exit status: 0 if every program exited 0, the first other status otherwise, 125 if the machine did not come up.
# Environment: variables KERNFORM_*, PROPTEST_* and RUST_* reach the programs; AVX512_TIMEOUT (seconds, 900),
#   AVX512_CPU (a Bochs model, corei7_skylake_x).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() { sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

binaries=() arguments=()
case ${1:-} in
'') usage ;;
--all)
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do binaries+=("$1"); shift; done
    [ $# -eq 0 ] || shift
    arguments=("$@") ;;
*) binaries=("$1"); shift; arguments=("$@") ;;
esac
[ ${#binaries[@]} -gt 0 ] || usage

apt_need bochs bochs-term bochsbios vgabios busybox-static xorriso isolinux syslinux-common cpio ||
    { fail 'the emulator is not available' || exit 125; }

# The kernel comes out of its package and is not installed.
kernel=$cache/avx512/vmlinuz
if [ ! -s "$kernel" ]; then
    unpacked=$(mktemp -d)
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -1)
    (cd "$unpacked" && apt-get download -qq "$package" 2>/dev/null && dpkg -x ./*.deb files) ||
        { fail 'no kernel package could be downloaded' || exit 125; }
    mkdir -p "$(dirname "$kernel")"
    cp "$unpacked"/files/boot/vmlinuz-* "$kernel.$$"
    mv "$kernel.$$" "$kernel"
    rm -rf "$unpacked"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
files=$work/files
mkdir -p "$files"/{bin,proc,dev,tmp,tests.d} "$work/cd/isolinux"
cp "$(command -v busybox)" "$files/bin/busybox"
cp "$repo/tests/tools/avx512-init" "$files/init"
chmod +x "$files/init"
env | grep -E '^(KERNFORM|PROPTEST|RUST)_[A-Z0-9_]+=' | grep -v '^KERNFORM_\(CACHE\|NOT_RUN\)=' |
    while IFS='=' read -r name value; do printf 'export %s=%q\n' "$name" "$value"; done >"$files/environment"
: >"$files/tests"
number=0
for binary in "${binaries[@]}"; do
    number=$((number + 1))
    # With the libraries that it asks for; a static program asks for none.
    { LC_ALL=C ldd "$binary" 2>/dev/null || :; } | { grep -o '/[^ ]*' || :; } | while read -r library; do
        [ -e "$files$library" ] || install -D "$(readlink -f "$library")" "$files$library"
    done
    strip -o "$files/tests.d/$number" "$binary"
    { printf '/tests.d/%s' "$number"; [ ${#arguments[@]} -eq 0 ] || printf ' %q' "${arguments[@]}"; echo; } >>"$files/tests"
done
(cd "$files" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/cd/initrd.gz"

cp "$kernel" "$work/cd/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/cd/isolinux/"
# clearcpuid: Bochs states a wrong size for compacted XSAVE areas (bits 321 XSAVEC, 323 XSAVES), and Linux then switches AVX off.
cat >"$work/cd/isolinux/isolinux.cfg" <<'CFG'
default linux
prompt 0
label linux
 kernel /vmlinuz
 append initrd=/initrd.gz console=ttyS0 quiet loglevel=0 mitigations=off nokaslr clearcpuid=321,323 nopku tsc=reliable lpj=80000 no_timer_check random.trust_cpu=on cryptomgr.notests panic=-1
CFG
xorriso -as mkisofs -quiet -o "$work/cd.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
    -no-emul-boot -boot-load-size 4 -boot-info-table "$work/cd" 2>/dev/null

# ips is low on purpose: time passes quickly in the machine, so that the kernel's waits cost few instructions.
cat >"$work/bochsrc" <<RC
config_interface: textconfig
display_library: term
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
cpu: model=${AVX512_CPU:-corei7_skylake_x}, ips=20000000, reset_on_triple_fault=0
megs: 256
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/cd.iso, status=inserted
boot: cdrom
clock: sync=none, time0=1700000000
com1: enabled=1, mode=file, dev=$work/serial
log: $work/bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
RC
printf 'c\nquit\n' >"$work/debugger"
: >"$work/serial"
status=0
# Bochs ends with a status of its own when the machine is switched off; what counts is what came over the serial port.
TERM=vt100 timeout -s KILL "${AVX512_TIMEOUT:-900}" \
    bochs-bin -q -f "$work/bochsrc" -rc "$work/debugger" </dev/null >"$work/screen" 2>&1 || status=$?

tr -d '\r' <"$work/serial" >"$work/output" 2>/dev/null || :
sed -n '/^@@begin 1$/,$p' "$work/output" | sed '/^@@/d'
if ! grep -q '^@@begin 1$' "$work/output"; then
    tail -n 5 "$work/output" "$work/bochs.log" >&2 || :
    fail "the emulated machine did not come up (status $status)" || exit 125
fi
worst=0
for ((number = 1; number <= ${#binaries[@]}; number++)); do
    code=$(sed -n "s/^.*@@end $number \([0-9]*\)\$/\1/p" "$work/output")
    if [ -z "$code" ]; then
        fail "${binaries[number - 1]} did not finish (status $status; 137 means the time of ${AVX512_TIMEOUT:-900} s was over)" || :
        code=125
    elif [ "$code" != 0 ]; then
        fail "${binaries[number - 1]} exited $code" || :
    fi
    if [ "$worst" = 0 ]; then worst=$code; fi
done
exit "$worst"
