//! The stand-in for AVX-VNNI that the tests of integer kernels use: every form of its instructions, and that it stands in
//! for nothing else. On a CPU with AVX-VNNI the same checks run on the hardware.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "avx_vnni/emulator.rs"]
mod emulator;

use core::arch::asm;
use core::arch::x86_64::*;
use std::os::unix::process::ExitStatusExt;

use kernform_simd::{Isa, Level};

/// Eight lanes, on a boundary of their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
struct Lanes([i32; 8]);

impl Lanes {
    fn load(&self) -> __m256i {
        // SAFETY: 32 bytes; callers are compiled with AVX.
        unsafe { _mm256_load_si256(self.0.as_ptr().cast()) }
    }
    fn store(value: __m256i) -> Lanes {
        let mut lanes = Lanes([0; 8]);
        // SAFETY: as above.
        unsafe { _mm256_store_si256(lanes.0.as_mut_ptr().cast(), value) };
        lanes
    }
    fn of_bytes(byte: impl Fn(usize) -> u8) -> Lanes {
        Lanes(core::array::from_fn(|i| i32::from_le_bytes(core::array::from_fn(|j| byte(4 * i + j)))))
    }
}

/// The four instructions by their definitions: whether of bytes, whether saturating.
fn expected(bytes: bool, saturating: bool, sums: Lanes, a: Lanes, b: Lanes) -> Lanes {
    Lanes(core::array::from_fn(|i| {
        let (a, b) = (a.0[i].to_le_bytes(), b.0[i].to_le_bytes());
        let mut sum = i64::from(sums.0[i]);
        if bytes {
            for (a, b) in a.into_iter().zip(b) {
                sum += i64::from(a) * i64::from(b as i8);
            }
        } else {
            for at in [0, 2] {
                let word = |x: [u8; 4]| i64::from(i16::from_le_bytes([x[at], x[at + 1]]));
                sum += word(a) * word(b);
            }
        }
        if saturating { sum.clamp(i32::MIN.into(), i32::MAX.into()) as i32 } else { sum as i32 }
    }))
}

/// Operands of random bits and of extremes, with sums at both ends of the range.
fn operands() -> Vec<[Lanes; 3]> {
    let byte = |seed: usize| move |i: usize| (((i + 1) * (seed * 2 + 1) * 2_654_435_761) >> 13) as u8;
    let mut operands: Vec<_> = (0..40)
        .map(|i| [Lanes::of_bytes(byte(3 * i)), Lanes::of_bytes(byte(3 * i + 1)), Lanes::of_bytes(byte(3 * i + 2))])
        .collect();
    for sums in [0, i32::MAX, i32::MIN] {
        for a in [0x00, 0x7f, 0x80, 0x88, 0xff] {
            for b in [0x00, 0x7f, 0x80, 0x88, 0xff] {
                operands.push([Lanes([sums; 8]), Lanes::of_bytes(|_| a), Lanes::of_bytes(|_| b)]);
            }
        }
    }
    operands
}

/// One instruction with registers that the compiler chooses.
macro_rules! instruction {
    ($name:literal, $sums:expr, $a:expr, $b:expr) => {{
        let mut sums = $sums.load();
        // SAFETY: the instruction changes its first register only.
        unsafe {
            asm!(concat!("{{vex}} ", $name, " {0}, {1}, {2}"), inout(ymm_reg) sums, in(ymm_reg) $a.load(),
                in(ymm_reg) $b.load(), options(nostack, preserves_flags))
        };
        Lanes::store(sums)
    }};
}

#[target_feature(enable = "avx2")]
fn all_four(_: Isa, [sums, a, b]: [Lanes; 3]) -> [Lanes; 4] {
    [
        instruction!("vpdpbusd", sums, a, b),
        instruction!("vpdpbusds", sums, a, b),
        instruction!("vpdpwssd", sums, a, b),
        instruction!("vpdpwssds", sums, a, b),
    ]
}

/// What the hardware makes of the other encoding of the same instructions.
#[target_feature(enable = "avx2,avx512f,avx512vl,avx512vnni")]
fn all_four_of_avx512([sums, a, b]: [Lanes; 3]) -> [Lanes; 4] {
    let (sums, a, b) = (sums.load(), a.load(), b.load());
    [
        Lanes::store(_mm256_dpbusd_epi32(sums, a, b)),
        Lanes::store(_mm256_dpbusds_epi32(sums, a, b)),
        Lanes::store(_mm256_dpwssd_epi32(sums, a, b)),
        Lanes::store(_mm256_dpwssds_epi32(sums, a, b)),
    ]
}

fn results_are_those_of_the_definitions(isa: Isa) {
    for operands @ [sums, a, b] in operands() {
        let expected = [(true, false), (true, true), (false, false), (false, true)]
            .map(|(bytes, saturating)| expected(bytes, saturating, sums, a, b));
        // SAFETY: the level includes AVX2, and AVX-VNNI or its stand-in.
        assert_eq!(unsafe { all_four(isa, operands) }, expected, "{operands:x?}");
        if Isa::new(Level::Avx512Vnni).is_ok() {
            // SAFETY: just detected.
            assert_eq!(unsafe { all_four_of_avx512(operands) }, expected, "{operands:x?}");
        }
    }
}

#[test]
fn all_results() {
    emulator::run(results_are_those_of_the_definitions);
}

static B: Lanes =
    Lanes([0x8001_7fff_u32.cast_signed(), 2, -3, 0x0405_0607, 5, 0x8080_8080_u32.cast_signed(), -1, 0x7f7f_7f7f]);

/// The second operand in memory, at `[$($form)*]` with `r` in the register `$r` and `s` in `$s`.
macro_rules! in_memory {
    ($sums:expr, $a:expr, $r:tt = $base:expr, $s:tt = $index:expr, $form:literal) => {{
        let (mut sums, before) = ($sums.load(), $a.load());
        // SAFETY: the forms are those of the operand; 32 readable bytes are there.
        unsafe {
            asm!(concat!("{{vex}} vpdpbusd ymm13, ymm10, ymmword ptr [", $form, "]"), inout("ymm13") sums,
                in("ymm10") before, in($r) $base, in($s) $index, options(nostack, preserves_flags, readonly))
        };
        ($form, Lanes::store(sums))
    }};
}

#[target_feature(enable = "avx2")]
fn every_addressing(sums: Lanes, a: Lanes) -> Vec<(&'static str, Lanes)> {
    let at = (&raw const B) as isize;
    let mut results = vec![
        in_memory!(sums, a, "rax" = at, "rcx" = 0isize, "rax"),
        in_memory!(sums, a, "rdi" = at - 64, "rcx" = 0isize, "rdi + 64"),
        in_memory!(sums, a, "rsi" = at + 128, "rcx" = 0isize, "rsi - 128"),
        in_memory!(sums, a, "rdx" = at - 0x1234, "rcx" = 0isize, "rdx + 0x1234"),
        in_memory!(sums, a, "r12" = at, "rcx" = 0isize, "r12"),
        in_memory!(sums, a, "r13" = at, "rcx" = 0isize, "r13"),
        in_memory!(sums, a, "r12" = at + 0x4321, "rcx" = 0isize, "r12 - 0x4321"),
        in_memory!(sums, a, "rax" = at - 96, "rcx" = 96isize, "rax + rcx"),
        in_memory!(sums, a, "r13" = at - 96, "r12" = 12isize, "r13 + 8*r12"),
        in_memory!(sums, a, "r8" = at + 48, "r9" = -20isize, "r8 + 4*r9 + 32"),
        in_memory!(sums, a, "r15" = at - 0x1000 + 10, "rdx" = -5isize, "r15 + 2*rdx + 0x1000"),
        in_memory!(sums, a, "r11" = (at - 64) / 8, "rcx" = 0isize, "8*r11 + 64"),
    ];
    let mut one = sums.load();
    // SAFETY: 32 bytes of the static.
    unsafe {
        asm!("{{vex}} vpdpbusd {0}, {1}, ymmword ptr [rip + {b}]", inout(ymm_reg) one, in(ymm_reg) a.load(), b = sym B,
            options(nostack, preserves_flags, readonly));
    };
    results.push(("rip", Lanes::store(one)));
    let mut one = sums.load();
    // SAFETY: what is pushed on the stack is taken off again.
    unsafe {
        asm!("sub rsp, 160", "vmovdqu ymmword ptr [rsp + 40], {b}", "{{vex}} vpdpbusd {0}, {1}, ymmword ptr [rsp + 40]",
            "add rsp, 160", inout(ymm_reg) one, in(ymm_reg) a.load(), b = in(ymm_reg) B.load());
    };
    results.push(("rsp + 40", Lanes::store(one)));
    results
}

fn operands_are_found_in_memory(_: Isa) {
    for [sums, a, _] in operands() {
        let expected = expected(true, false, sums, a, B);
        // SAFETY: as above.
        for (form, result) in unsafe { every_addressing(sums, a) } {
            assert_eq!(result, expected, "[{form}]");
        }
    }
}

#[test]
fn all_addressings() {
    emulator::run(operands_are_found_in_memory);
}

/// Registers that hold other values before and after: all are read and written where they belong, the instruction of 128
/// bits clears the upper half, and nothing else changes.
#[target_feature(enable = "avx2")]
fn registers_stay(_: Isa) {
    let value = |i: usize| Lanes::of_bytes(|at| (i * 37 + at * 11 + 5) as u8);
    let before: [Lanes; 16] = core::array::from_fn(value);
    let mut after = before;
    macro_rules! all {
        ($($name:tt)*) => {{
            let mut at = 0usize;
            // SAFETY: registers only, all of which are named; memory as the operands say.
            unsafe {
                asm!($(concat!("vmovdqa ", $name, ", [{memory} + {at}]"), "add {at}, 32",)*
                    "xor {at:e}, {at:e}",
                    "{{vex}} vpdpbusd ymm3, ymm15, ymm8", "{{vex}} vpdpwssd ymm9, ymm0, ymm1",
                    "{{vex}} vpdpbusds xmm14, xmm2, xmm12",
                    $(concat!("vmovdqa [{memory} + {at}], ", $name), "add {at}, 32",)*
                    memory = in(reg) after.as_mut_ptr(), at = inout(reg) at,
                    $(out($name) _,)* options(nostack))
            };
            assert_eq!(at, 512);
        }};
    }
    all!("ymm0" "ymm1" "ymm2" "ymm3" "ymm4" "ymm5" "ymm6" "ymm7" "ymm8" "ymm9" "ymm10" "ymm11" "ymm12" "ymm13" "ymm14" "ymm15");
    let mut wanted = before;
    wanted[3] = expected(true, false, before[3], before[15], before[8]);
    wanted[9] = expected(false, false, before[9], before[0], before[1]);
    wanted[14] = expected(true, true, before[14], before[2], before[12]);
    wanted[14].0[4..].fill(0);
    assert_eq!(after, wanted);
}

#[test]
fn registers_are_read_and_written_where_they_belong() {
    emulator::run(|isa| {
        // SAFETY: as above.
        unsafe { registers_stay(isa) }
    });
}

/// In a process of its own, since it has to die.
#[test]
fn other_illegal_instructions_still_kill() {
    const CHILD: &str = "KERNFORM_TEST_ILLEGAL_INSTRUCTION";
    if std::env::var_os(CHILD).is_some() {
        emulator::install();
        // SAFETY: it ends the process.
        unsafe { asm!("ud2") };
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "other_illegal_instructions_still_kill"])
        .env(CHILD, "1")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(libc::SIGILL), "{status}");
}
